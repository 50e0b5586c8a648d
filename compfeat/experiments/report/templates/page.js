"use strict";

// Tables: a header sorts its column, downwards first where there are numbers; what is missing stays at the bottom.
for (const header of document.querySelectorAll("th[data-column]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...header.childNodes);
  header.append(button);
  button.addEventListener("click", () => sort(header));
}

function sort(header) {
  const table = header.closest("table");
  const body = table.tBodies[0];
  const value = (row) => {
    const cell = row.cells[Number(header.dataset.column)];
    const text = cell.dataset.value ?? cell.textContent.trim().replaceAll(",", "");
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };
  const missing = (found) => found === "" || found === "–";
  const rows = [...body.rows];
  const numeric = rows.some((row) => typeof value(row) === "number");
  const first = numeric ? "descending" : "ascending";
  const second = numeric ? "ascending" : "descending";
  const order = header.getAttribute("aria-sort") === first ? second : first;
  const sense = order === "ascending" ? 1 : -1;
  rows.sort((a, b) => {
    const [one, other] = [value(a), value(b)];
    if (missing(one) || missing(other)) return missing(one) - missing(other);
    return sense * (numeric ? one - other : String(one).localeCompare(String(other)));
  });
  for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
  body.append(...rows);
}

// Videos: the copies of one video play together while they are seen, unless motion is not wanted or they were paused.
const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;

for (const group of document.querySelectorAll(".video")) {
  const copies = [...group.querySelectorAll("video")];
  const button = group.querySelector(".play");
  let wanted = !still;
  let seen = false;

  const show = () => {
    const plays = wanted && seen;
    button.textContent = wanted ? "Pause" : "Play";
    button.setAttribute("aria-label", `${button.textContent} all copies of ${group.getAttribute("aria-label")}`);
    for (const copy of copies) {
      if (plays) copy.play().catch(() => {});
      else copy.pause();
    }
  };
  button.addEventListener("click", () => {
    wanted = !wanted;
    show();
  });
  copies[0].addEventListener("timeupdate", () => {
    const { currentTime, duration } = copies[0];
    for (const copy of copies.slice(1)) {
      const apart = Math.abs(copy.currentTime - currentTime);
      if (Math.min(apart, duration - apart) > 0.15) copy.currentTime = currentTime;
    }
  });
  new IntersectionObserver(([entry]) => {
    seen = entry.isIntersecting;
    show();
  }).observe(group);
}
