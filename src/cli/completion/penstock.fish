# Completion of penstock's command line in fish. What may stand where is known to penstock alone; this asks it.
function __penstock_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l head (string match -r '^--[^=]*=' -- $current)
    set -l rest (string replace -r '^--[^=]*=' '' -- $current)
    for line in (command $words[1] completion --words -- $words[2..-1] "$current" 2>/dev/null)
        switch $line
            case ':files'
                for path in (__fish_complete_path "$rest")
                    echo "$head$path"
                end
            case ':folders'
                for path in (__fish_complete_directories "$rest")
                    echo "$head$path"
                end
            case '*'
                echo $line
        end
    end
end
complete -c penstock -f -a '(__penstock_complete)'
