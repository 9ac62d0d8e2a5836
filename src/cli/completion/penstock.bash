# Completion of penstock's command line in bash. What may stand where is known to penstock alone; this asks it.
# shellcheck shell=bash
_penstock() {
    local words=() word _ current head i
    # readline took the words apart at '=' and ':'; penstock gets them as they were typed.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((${#words[@]} > 1)) && [[ $word == [=:]* || ${words[-1]} == *[=:] ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
    done
    # Of the word under the cursor readline replaces the last piece; `head` is what stays.
    current=${COMP_WORDS[COMP_CWORD]}
    [[ $current != [=:] ]] || current=''
    head=${words[-1]%"$current"}
    COMPREPLY=()
    while IFS=$'\t' read -r word _; do
        case $word in
        :files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        :folders) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        *)
            [[ $word != *= ]] || compopt -o nospace
            COMPREPLY+=("${word#"$head"}")
            ;;
        esac
    done < <("${words[0]/#\~/$HOME}" completion --words -- "${words[@]:1}" 2>/dev/null)
}
complete -F _penstock penstock
