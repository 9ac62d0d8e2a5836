-- trim: forgets outbox entries up to and including the one named, because Kafka has acknowledged their events. ARGV: gseq.
if not begin() then return fenced() end
call('XTRIM', P .. 'outbox', 'MINID', '=', ARGV[1] .. '-1')
call('HSET', META, 'relay_position', ARGV[1])
return 1
