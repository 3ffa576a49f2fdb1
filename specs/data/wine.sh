#!/bin/sh
# wine.sh - a small table of features: 13 measurements of 178 wines from three growers (UCI's "Wine", CC BY 4.0), as scikit-learn
# carries it.
# usage: specs/data/wine.sh [FILE.csv]       default: wine.csv; the set is FILE.safetensors
#
# The numbers come out of Debian's package python3-sklearn: installed, or fetched by apt-get and unpacked, without what it depends on.
# Needs convoy (CONVOY names another than the one in PATH).
set -eu
LC_ALL=C
export LC_ALL
file=${1:-wine.csv}
data=usr/lib/python3/dist-packages/sklearn/datasets/data/wine_data.csv
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=/
if [ ! -e "/$data" ]; then
    (cd "$work" && apt-get download python3-sklearn >/dev/null && dpkg-deb -x python3-sklearn_*.deb .) || {
        echo "wine.sh: python3-sklearn is not here and cannot be fetched" >&2
        exit 1
    }
    root=$work/
fi
{
    echo 'alcohol,malic_acid,ash,alcalinity,magnesium,phenols,flavanoids,other_phenols,proanthocyanins,colour,hue,od280,proline,class'
    tail -n +2 "$root$data"
} >"$file"
"${CONVOY:-convoy}" data "$file" -o "${file%.csv}.safetensors"
