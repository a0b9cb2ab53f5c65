// Marks of a figure are labelled by rows of its data table: the tooltip shows the row.
const tip = document.getElementById("tip");
const hide = () => { tip.hidden = true; };
const show = (mark) => {
  const row = document.getElementById(mark.getAttribute("aria-labelledby"));
  const heads = row.closest("table").tHead.rows[0].cells;
  tip.replaceChildren(...[...row.cells].map((cell, n) => {
    const line = document.createElement("div");
    line.textContent = `${heads[n].textContent}: ${cell.textContent}`;
    return line;
  }));
  tip.hidden = false;
  const place = mark.getBoundingClientRect();
  const wide = document.documentElement.clientWidth - tip.offsetWidth - 8;
  const below = place.bottom + 8 + tip.offsetHeight < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(place.left, wide))}px`;
  tip.style.top = `${below ? place.bottom + 8 : Math.max(8, place.top - tip.offsetHeight - 8)}px`;
};
const markOf = (event) => event.target instanceof Element ? event.target.closest(".mark") : null;
for (const kind of ["focusin", "pointerover", "click"]) {
  document.addEventListener(kind, (event) => {
    const mark = markOf(event);
    if (mark) show(mark); else if (kind !== "pointerover" || !document.activeElement.matches(".mark")) hide();
  });
}
addEventListener("scroll", () => {
  const mark = document.activeElement.closest(".mark");
  if (mark && !tip.hidden) show(mark); else hide();
}, { passive: true });
document.addEventListener("keydown", (event) => {
  const mark = markOf(event);
  if (event.key === "Escape") hide();
  if (!mark || !event.key.startsWith("Arrow")) return;
  const marks = [...mark.closest("svg, .bars").querySelectorAll(".mark")];
  const step = ["ArrowRight", "ArrowDown"].includes(event.key) ? 1 : -1;
  marks[(marks.indexOf(mark) + step + marks.length) % marks.length].focus();
  event.preventDefault();
});
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const one of closed) one.open = true;
});
addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
// A table that does not fit says so.
const regions = [...document.querySelectorAll(".wide")];
const check = () => {
  for (const one of regions) one.classList.toggle("scrolls", one.firstElementChild.offsetWidth > one.clientWidth + 1);
};
const resized = new ResizeObserver(check);
for (const one of regions) resized.observe(one);
