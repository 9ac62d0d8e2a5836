#compdef penstock
# Completion of penstock's command line in zsh. What may stand where is known to penstock alone; this asks it.
_penstock() {
    local word doc
    local -a whole open
    while IFS=$'\t' read -r word doc; do
        case $word in
        :files) compset -P '--*='; _files; return ;;
        :folders) compset -P '--*='; _files -/; return ;;
        *=) open+=("${word//:/\\:}:$doc") ;;
        *) whole+=("${word//:/\\:}:$doc") ;;
        esac
    done < <("${(Q)words[1]}" completion --words -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)
    ((${#whole})) && _describe penstock whole
    ((${#open})) && _describe penstock open -S ''
}
# Read from a folder of $fpath this file is the function's body; sourced, it defines it.
if [[ $funcstack[1] == _penstock ]]; then
    _penstock "$@"
else
    compdef _penstock penstock
fi
