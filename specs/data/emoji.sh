#!/bin/sh
# emoji.sh - a set of small colour images that anyone can make: emoji as four vendors draw them, by category.
# usage: specs/data/emoji.sh [FOLDER]        FOLDER (default: emoji) gets the images; FOLDER.safetensors is the set
#
# It takes the npm packages emoji-datasource-google, -twitter, -facebook and -apple, version 16.0.0 (340 MB to fetch), and needs
# npm, node, tar and convoy (CONVOY names another than the one in PATH). Package files that lie in FOLDER/packages are not fetched
# again. The pictures belong to their makers: Noto Emoji of Google (Apache 2.0), Twemoji of Twitter (CC BY 4.0); those of Facebook
# and Apple are theirs and may not be passed on. The packages' own code is under the MIT licence.
#
# A class is a category, an image CATEGORY/CODEPOINT-VENDOR.png. All drawings of one code point are one group: none is tested on
# that was trained with another vendor's drawing of it.
set -eu
LC_ALL=C
export LC_ALL
folder=${1:-emoji} version=16.0.0
for tool in npm node tar "${CONVOY:-convoy}"; do
    command -v "$tool" >/dev/null 2>&1 || {
        echo "emoji.sh: $tool is missing" >&2
        exit 1
    }
done
mkdir -p "$folder/packages" "$folder/images"
for vendor in google twitter facebook apple; do
    file=emoji-datasource-$vendor-$version.tgz
    [ -e "$folder/packages/$file" ] || (cd "$folder/packages" && npm pack --silent "emoji-datasource-$vendor@$version")
    mkdir -p "$folder/packages/$vendor"
    tar -xzf "$folder/packages/$file" -C "$folder/packages/$vendor" package/emoji.json "package/img/$vendor/64"
done
node - "$folder" <<'END'
const fs = require('fs'), folder = process.argv[2];
let images = 0;
for (const vendor of ['google', 'twitter', 'facebook', 'apple']) {
    const from = `${folder}/packages/${vendor}/package`;
    for (const e of JSON.parse(fs.readFileSync(`${from}/emoji.json`))) {
        const image = `${from}/img/${vendor}/64/${e.image}`;
        if (e.category === 'Component' || !fs.existsSync(image))
            continue;
        const to = `${folder}/images/${e.category.toLowerCase().replace(/[^a-z]+/g, '-')}`;
        fs.mkdirSync(to, { recursive: true });
        fs.copyFileSync(image, `${to}/${e.unified.toLowerCase()}-${vendor}.png`);
        images++;
    }
}
console.log(`${images} images`);
END
exec "${CONVOY:-convoy}" data "$folder/images" -o "$folder.safetensors" --size 32x32 --group '/([0-9a-f-]+)-[a-z]+[.]png$'
