// Sorts a table by the column whose header was pressed: once up, once more down. The tables are
// whole without it.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th");
    const table = header.closest("table");
    const before = [...header.parentNode.children];
    const start = before.slice(0, before.indexOf(header)).reduce((sum, th) => sum + th.colSpan, 0);
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => {
      // A header may stand over two cells.
      let cell = row.firstElementChild;
      for (let left = start; left > 0; cell = cell.nextElementSibling) left -= cell.colSpan;
      return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
    };
    const missing = (value) => value === "–" || value === "" || Number.isNaN(value);
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (missing(x) || missing(y)) return missing(x) - missing(y);
      const order = typeof x === "number" && typeof y === "number"
        ? x - y
        : String(x).localeCompare(String(y), "en", { numeric: true });
      return down ? -order : order;
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort(compare));
  });
}
