# fish completion for pirn: /usr/share/fish/vendor_completions.d/pirn.fish, or
# pirn completions fish | source in ~/.config/fish/config.fish.

function __pirn_complete
    set -l current (commandline -ct)
    set -l found (command pirn complete fish -- (commandline -opc) "$current" 2>/dev/null)
    # The value of --option=value, with the option before it.
    set -l option (string match -r -- '^--[^=]*=' "$current")
    set -l value (string replace -r -- '^--[^=]*=' '' "$current")
    switch "$found[1]"
        case words
            printf '%s\n' $found[2..-1]
        case files
            printf '%s\n' "$option"(__fish_complete_path "$value")
        case dirs
            printf '%s\n' "$option"(__fish_complete_directories "$value")
        case commands
            complete -C "$value"
    end
end

complete -c pirn -f -k -a '(__pirn_complete)'
