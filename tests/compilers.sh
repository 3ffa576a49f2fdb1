#!/bin/sh
# Makes FOLDER, where the compilers' names are scripts that put ccache in front of them, for those compilers that are there; prints what of them
# it made. A test that compiles has it in front of its PATH: what another test has compiled already (the runtime, above all) is found again.
# What has not been compiled costs no more than without: the compiler itself says which headers it read (-MMD, CCACHE_DEPEND), where ccache
# else preprocesses each file first, which takes as long as compiling it without optimisation.
# usage: compilers.sh CCACHE FOLDER
set -eu
ccache=$1 dir=$2
rm -rf "$dir"
mkdir -p "$dir/read"

# real NAME: the compiler of that name in PATH that is not ccache under another name.
real() {
    IFS=:
    for folder in $PATH; do
        case $(readlink -f "$folder/$1") in
        */ccache) ;;
        *) [ ! -x "$folder/$1" ] || { echo "$folder/$1" && return; } ;;
        esac
    done
    return 1
}

for name in cc gcc clang c++ g++ clang++ aarch64-linux-gnu-gcc; do
    path=$(real "$name") || continue
    cat >"$dir/$name" <<END
#!/bin/sh
export CCACHE_DEPEND=1
case " \$* " in
*' -M'*) exec '$ccache' '$path' "\$@" ;;
*' -c '*) ;;
*) exec '$path' "\$@" ;;
esac
read='$dir'/read/\$\$
'$ccache' '$path' "\$@" -MMD -MF "\$read" -MQ object
status=\$?
rm -f "\$read"
exit \$status
END
    chmod +x "$dir/$name"
    echo "$name"
done
