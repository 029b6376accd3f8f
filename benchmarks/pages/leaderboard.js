"use strict";
const collator = new Intl.Collator("en", { numeric: true });

function sort(table, column, ascending) {
  const body = table.tBodies[0];
  const value = (row) => row.cells[column].dataset.value ?? "";
  const rows = [...body.rows].sort((one, two) => {
    const [a, b] = [value(one), value(two)];
    if (a === "" || b === "") return (a === "") - (b === "");
    const numbers = Number(a) - Number(b);
    return (Number.isNaN(numbers) ? collator.compare(a, b) : numbers) * (ascending ? 1 : -1);
  });
  body.append(...rows);
}

for (const table of document.querySelectorAll("table.board")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = head.querySelector("button");
    if (!button) continue;
    button.addEventListener("click", () => {
      const was = head.getAttribute("aria-sort");
      const next = was ? (was === "ascending" ? "descending" : "ascending") : button.dataset.first;
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", next);
      sort(table, head.cellIndex, next === "ascending");
    });
  }
}
const rows = document.querySelectorAll("tr.published");
const choice = document.getElementById("published");
choice.classList.toggle("hidden", !rows.length);
choice.querySelector("input").addEventListener("change", (event) => {
  for (const row of rows) row.classList.toggle("hidden", !event.target.checked);
});
