# Completion of smartrelay(1) for fish: the command itself says what can stand next.
# Put it into ~/.config/fish/completions or a vendor_completions.d.

function __smartrelay_complete
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    set -l word (commandline --current-token --cut-at-cursor)
    for reply in (env COMP_WORDS="$words $word" COMP_CWORD="$word" _SMARTRELAY_COMPLETE=fish_complete $words[1] 2>/dev/null)
        set -l parts (string split --max 1 "," $reply)
        switch $parts[1]
            case dir
                __fish_complete_directories $word
            case file
                __fish_complete_path $word
            case plain
                echo $parts[2]
        end
    end
end

complete --no-files --keep-order --command smartrelay --arguments "(__smartrelay_complete)"
