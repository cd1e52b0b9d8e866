#!/usr/bin/env bash
# tests/book.sh BUILD: weave and graft refuse what they should, and the book that BUILD/weave makes
# has well-formed pages without dead links. The last line counts.
set -uo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "$1")
passed=0 failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# check NAME COMMAND...
check() {
	local name=$1
	shift
	if "$@" >"$scratch/log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not so: $name"
		head -n 10 "$scratch/log"
	fi
}

# refuses TEXT COMMAND...: the command fails with one line that holds TEXT.
refuses() {
	local text=$1 output
	shift
	output=$("$@" 2>&1 >/dev/null) && return 1
	echo "$output"
	[ "$(wc -l <<<"$output")" -eq 1 ] && grep -qF -- "$text" <<<"$output"
}

# A small project to weave, with a chapter of its own.
project() {
	rm -rf "$scratch/p"
	mkdir -p "$scratch/p/book" "$scratch/p/src/a" "$scratch/p/tools" "$scratch/out"
	ln -s "$PWD/tools/weave" "$scratch/p/tools/weave"
	printf '/* Head. */\nint one(void)\n{\n\treturn 1;\n}\n\nint two(void)\n{\n\treturn 2;\n}\n' \
		>"$scratch/p/src/a/a.c"
	printf -- '---\ntitle: A\nfiles: src/a/a.c\n---\n# A\n\n%b\n' "$1" >"$scratch/p/book/01-a.md"
}
weave_project() {
	"$build/weave" "$scratch/p" "$scratch/out"
}
refused_chapter() {
	project "$1"
	refuses "$2" weave_project
}
accepted_chapter() {
	project "$1"
	weave_project
}
check "a whole file is complete" accepted_chapter '{{code src/a/a.c}}'
check "definitions are complete" accepted_chapter '{{code src/a/a.c one two}}'
check "an unknown definition" refused_chapter '{{code src/a/a.c three}}' \
	"book/01-a.md:7: src/a/a.c has no definition 'three'"
check "an unknown file" refused_chapter '{{code src/a/b.c}}' "there is no source file 'src/a/b.c'"
check "an unknown section" refused_chapter '{{code src/a/a.c:No}}' "has no section 'No'"
check "a line that is not shown" refused_chapter '{{code src/a/a.c one}}' \
	"no chapter shows line 7 of src/a/a.c"
check "an unknown directive" refused_chapter '{{code src/a/a.c}}\n{{cod src/a/a.c}}' "is no directive"
check "a command that fails" refused_chapter '{{code src/a/a.c}}\n{{run false}}' \
	"'false' ended with status 1"
# Weaves a chapter with a chart, of this script.
chart() {
	project "{{code src/a/a.c}}\n\n{{chart line A line & no more}}"
	mkdir -p "$scratch/p/book/figures"
	echo "$1" >"$scratch/p/book/figures/line.gnuplot"
	weave_project
}
charted() {
	chart 'set terminal svg; plot x' && grep -q '<svg' "$scratch/out/book/line.svg" &&
		grep -qF 'src="line.svg" alt="A line &amp; no more"' "$scratch/out/book/01-a.html"
}
check "a chart" charted
check "a chart without words" refused_chapter '{{code src/a/a.c}}\n{{chart line}}' \
	"a chart needs words"
check "a chart that gnuplot does not make" refuses \
	"gnuplot makes no chart of book/figures/line.gnuplot" chart 'exit status 1'
check "a rule that nobody states" refused_chapter '{{code src/a/a.c}}\n\nSee [01.9].' \
	"no chapter states the rule 01.9"

forgets_pages() {
	project '{{code src/a/a.c}}'
	weave_project && [ -e "$scratch/out/book/01-a.html" ] || return 1
	mv "$scratch/p/book/01-a.md" "$scratch/p/book/01-b.md"
	weave_project && [ -e "$scratch/out/book/01-b.html" ] && [ ! -e "$scratch/out/book/01-a.html" ]
}
check "the page of a chapter that is gone goes" forgets_pages

graft_of() {
	printf '%b' "$1" >"$scratch/patch.c"
	"$build/graft" src/tdi/send_async.c "$scratch/patch.c"
}
grafted() {
	graft_of '#include "io/io.h"\nstatic void free_send(struct send_context *send)\n{\n\tio_free_irp(send->irp);\n}\n' \
		>"$scratch/out.c" && "${CC:-cc}" -std=gnu11 -fsyntax-only -Isrc "$scratch/out.c" &&
		grep -qF "#line 2 \"$scratch/patch.c\"" "$scratch/out.c" &&
		! grep -q '^	ex_free_pool(send);$' "$scratch/out.c"
}
check "a graft compiles and points to the patch" grafted
check "graft: an unknown name" refuses "patch.c:1: 'other' is not defined in" \
	graft_of 'int other(void)\n{\n\treturn 1;\n}\n'
check "graft: the same name twice" refuses "is defined in line 1 already" \
	graft_of 'static void free_send(void)\n{\n}\nstatic void free_send(void)\n{\n}\n'
check "graft: a patch without definitions" refuses "holds no definition" graft_of '/* none */\n'

graft_helper() { # STORAGE
	printf 'static int mine;\n%sint helper(void)\n{\n\treturn mine;\n}\n%b' "$1" \
		'void io_unlock_buffer(struct irp *irp)\n{\n\tirp->flags = helper();\n}\n' >"$scratch/patch.c"
	"$build/graft" -s src/io/irp.c src/io/mdl.c "$scratch/patch.c"
}
helped() {
	graft_helper 'static ' >"$scratch/out.c" &&
		"${CC:-cc}" -std=gnu11 -fsyntax-only -Isrc "$scratch/out.c" &&
		grep -q 'return mine' "$scratch/out.c"
}
check "graft -s: several references, and a static helper" helped
check "graft -s: a helper that others see" refuses "(a function of your own is static)" graft_helper ''

check "the book builds" "$build/weave" . "$build"
check "well-formed pages, no dead links" python3 - "$build/book" <<'PYTHON'
import pathlib, sys
import xml.etree.ElementTree as xml

folder = pathlib.Path(sys.argv[1])
ids, links, broken = {}, [], []
for page in sorted(folder.glob("*.html")):
    text = page.read_text().replace("<!DOCTYPE html>", "")
    try:
        root = xml.fromstring(text)
    except xml.ParseError as error:
        broken.append(f"{page.name}: {error}")
        continue
    named = [node.get("id") for node in root.iter() if node.get("id")]
    broken += [f"{page.name}: the id {i} twice" for i in {i for i in named if named.count(i) > 1}] \
        if len(named) < 400 else []
    ids[page.name] = set(named)
    links += [(page.name, node.get("href")) for node in root.iter("a")]
for page, link in links:
    target, _, anchor = link.partition("#")
    target = target or page
    if target not in ids or (anchor and anchor not in ids[target]):
        broken.append(f"{page}: {link} leads nowhere")
print("\n".join(broken[:20]))
sys.exit(bool(broken) or len(ids) < 20)
PYTHON

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
