
# Names of units and machines, from the cluster. No cluster, no names.
_fleetctl_names() {
    fleetctl --request-timeout=2 --ssh-timeout=2 complete "$1" </dev/null 2>/dev/null
}

_fleetctl_with_names() {
    # bash breaks words at characters that unit names have: take the word at the cursor as a whole, and leave out what
    # stands before the part that bash replaces, its $2.
    local word="${COMP_LINE:0:COMP_POINT}" head="" verb="" kinds="" names="" name part
    word="${word##*[[:space:]]}"
    if [[ $word == *"$2" ]]; then
        head="${word%"$2"}"
    fi
    for part in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$part" in
            @VERBS@)
                verb="$part"
                break
                ;;
        esac
    done
    case "$3" in
        @UNIT_FLAGS@)
            kinds="units"
            ;;
        @MACHINE_FLAGS@)
            kinds="machines"
            ;;
    esac
    if [[ -z $kinds ]]; then
        if [[ -z $verb || $word == -* ]]; then
            _fleetctl "$@"
            return
        fi
        case "$3" in
            --*)
                _fleetctl "$@"
                ;;
        esac
    fi
    if [[ -z $kinds ]]; then
    case "$verb" in
        @UNIT_VERBS@)
            kinds="units"
            ;;
    esac
    case "$verb" in
        @MACHINE_VERBS@)
            kinds="$kinds machines"
            ;;
    esac
    fi
    if [[ -z $kinds ]]; then
        _fleetctl "$@"
        return
    fi
    for part in $kinds; do
        names+="$(_fleetctl_names "$part") "
    done
    while IFS= read -r name; do
        COMPREPLY+=("${name#"$head"}")
    done < <(compgen -W "${names//\\/\\\\}" -- "$word")
    case "$verb" in
        @FILE_VERBS@)
            compopt -o filenames 2>/dev/null
            while IFS= read -r name; do
                COMPREPLY+=("${name#"$head"}")
            done < <(compgen -f -- "$word")
            ;;
    esac
}

complete -F _fleetctl_with_names -o bashdefault -o default fleetctl
