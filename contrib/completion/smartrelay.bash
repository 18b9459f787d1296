# Completion of smartrelay(1) for bash: the command itself says what can stand next.
# Put it into /usr/local/share/bash-completion/completions as smartrelay, or source it.

_smartrelay() {
    local line=${COMP_LINE:0:COMP_POINT} program=${1/#\~\//$HOME/} word reply
    local -a words
    # Words as the command will see them: bash's own end at every colon, and hosts have ports.
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    word=${words[-1]}
    COMPREPLY=()
    while IFS= read -r reply; do
        case $reply in
            file,*) compopt -o default ;;
            dir,*) compopt -o dirnames ;;
            plain,*) COMPREPLY+=("${reply#plain,}") ;;
        esac
    done < <(env COMP_WORDS="$line" COMP_CWORD=$((${#words[@]} - 1)) _SMARTRELAY_COMPLETE=bash_complete "$program" 2>/dev/null)
    # What stands before the last colon is no part of the word that bash replaces.
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*:}"}"}")
    fi
}

complete -o nosort -F _smartrelay smartrelay
