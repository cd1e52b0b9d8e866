/* The search: names, headings and rules of index.js that contain what is typed. */
"use strict";
(() => {
	const MOST = 40;
	const box = document.getElementById("search");
	const input = document.createElement("input");
	const list = document.createElement("ol");

	/* The lower, the better: the name itself, one that begins so, one that has it. */
	const rank = (name, words) =>
		name === words ? 0 : name.startsWith(words) ? 1 : name.includes(words) ? 2 : 3;

	const show = () => {
		const words = input.value.trim().toLowerCase();
		const hits = words === "" ? [] : BOOK_INDEX
			.map((entry) => [rank(entry[0].toLowerCase(), words), entry])
			.filter(([at]) => at < 3)
			.sort((a, b) => a[0] - b[0] || a[1][0].length - b[1][0].length)
			.slice(0, MOST);

		list.replaceChildren(...hits.map(([, [name, kind, href]]) => {
			const item = document.createElement("li");
			const link = document.createElement("a");
			const small = document.createElement("small");

			link.href = href;
			link.textContent = name;
			small.textContent = kind;
			link.append(small);
			item.append(link);
			return item;
		}));
		list.hidden = hits.length === 0;
	};

	input.type = "search";
	input.placeholder = "Search names, headings, rules";
	input.setAttribute("aria-label", "Search the book");
	list.hidden = true;
	box.append(input, list);
	input.addEventListener("input", show);
	input.addEventListener("keydown", (event) => {
		const first = list.querySelector("a");
		if (event.key === "Enter" && first !== null)
			first.click();
		if (event.key === "Escape") {
			input.value = "";
			show();
		}
	});
	document.addEventListener("keydown", (event) => {
		if (event.key === "/" && document.activeElement !== input) {
			event.preventDefault();
			input.focus();
		}
	});
	list.addEventListener("click", () => { list.hidden = true; });
	if (location.hash.startsWith("#search=")) {
		input.value = decodeURIComponent(location.hash.slice(8));
		show();
	}
})();
