-- policy: limits that every process obeys; modes stay as they are. ARGV: '1' to leave a policy that is there as it is, tenant_label,
-- limit of a tenant that is not named, ageing_us, then kind ('tenant' or 'model'), name and limit of each.
if not begin() then return fenced() end
if ARGV[1] == '1' and call('HEXISTS', P .. 'policy', 'tenant_default') == 1 then return 0 end
local named = {}
for at = 5, #ARGV, 3 do named[ARGV[at] .. ':' .. ARGV[at + 1]] = ARGV[at + 2] end
for _, field in ipairs(call('HKEYS', P .. 'policy')) do
  local kind = string.match(field, '^(%a+):')
  if (kind == 'tenant' or kind == 'model') and not named[field] then call('HDEL', P .. 'policy', field) end
end
for field, limit in pairs(named) do call('HSET', P .. 'policy', field, limit) end
call('HSET', P .. 'policy', 'tenant_label', ARGV[2], 'tenant_default', ARGV[3])
call('HSET', META, 'ageing_us', ARGV[4])
-- Whoever has more slots now gets jobs back.
for _, name in ipairs(call('SRANDMEMBER', P .. 'parked_tenants', 100)) do tenant_of(name).look = true end
flush()
return 1
