#!/usr/bin/env bash
# tests/book-browser.sh BUILD: the book in headless Chromium, wide and narrow: code with links, a
# search that finds io_complete_request, nothing on the console. The last line counts.
set -uo pipefail
pages=file://$(realpath "$1")/book
passed=0 failed=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

check() {
	if "${@:2}" >/dev/null; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		echo "not so: $1"
	fi
}
# Chromium's windows are 500 pixels wide or more, so the page stands in a frame of the width that is
# asked for, and the page around it reports what is in the frame.
open() { # WIDTH PAGE
	cat >"$scratch/frame.html" <<-HTML
		<!DOCTYPE html><iframe id="f" width="$1" height="900" style="border:0" src="$pages/$2"></iframe>
		<pre id="report"></pre><script>
		f.onload = () => {
			const page = f.contentDocument, all = page.documentElement;
			const find = (what) => page.querySelector(what)?.textContent;
			report.textContent = "width " + f.contentWindow.innerWidth +
				" overflow " + (all.scrollWidth > all.clientWidth) +
				" links " + (page.querySelectorAll("pre.code a[href]").length > 50) +
				" found " + find("#search li a").replace(/macro.*/, "");
		};
		</script>
	HTML
	timeout 60 chromium --headless --no-sandbox --disable-gpu --no-first-run \
		--disable-background-networking --disable-component-update --disable-sync \
		--allow-file-access-from-files --user-data-dir="$scratch/profile" \
		--enable-logging=stderr --virtual-time-budget=3000 --window-size=1400,1000 \
		--dump-dom "file://$scratch/frame.html" >"$scratch/dom" 2>"$scratch/log"
}
silent() {
	! grep -q CONSOLE "$scratch/log"
}
for width in 1280 390; do
	check "$width: the page opens" open "$width" "01-request.html#search=io_complete_request"
	check "$width: it is that wide" grep -q "width $width " "$scratch/dom"
	check "$width: nothing hangs over the edge" grep -q "overflow false" "$scratch/dom"
	check "$width: code with links" grep -q "links true" "$scratch/dom"
	check "$width: the search finds" grep -q "found io_complete_request<" "$scratch/dom"
	check "$width: nothing on the console" silent
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
