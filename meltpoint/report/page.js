"use strict";

// --- tables: a click on a head sorts, again the other way, and again as it was ---------------------

const ORDERS = ["none", "ascending", "descending"];

// Numbers first, then words; undefined and empty ones last, whatever the direction.
function keyOf(row, column) {
  const cell = row.cells[column];
  if (!cell) return { rank: 2 };
  const value = cell.dataset.v;
  if (value === "") return { rank: 2 };
  if (value !== undefined) return { rank: 0, value: Number(value) };
  return { rank: 1, value: cell.textContent.trim() };
}

function compare(a, b, sign) {
  if (a.rank !== b.rank) return a.rank - b.rank;
  if (a.rank === 0) return sign * (a.value - b.value);
  return a.rank === 1 ? sign * a.value.localeCompare(b.value, "en", { numeric: true }) : 0;
}

function sort(table, rows, column, order) {
  const sign = order === "descending" ? -1 : 1;
  const keyed = rows.map((row) => ({ row, key: keyOf(row, column) }));
  if (order !== "none") keyed.sort((a, b) => compare(a.key, b.key, sign));
  table.tBodies[0].append(...keyed.map((entry) => entry.row));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...table.tBodies[0].rows];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    if (!button.textContent.trim()) button.setAttribute("aria-label", `Column ${column + 1}`);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const next = ORDERS[(ORDERS.indexOf(head.getAttribute("aria-sort")) + 1) % ORDERS.length];
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", next);
      sort(table, rows, column, next);
    });
  });
}

document.querySelectorAll("table").forEach(makeSortable);

// --- figures: the text of the point that is nearest to the pointer ---------------------------------

const REACH = 12;
const tip = document.getElementById("tip");
let shown = null;

function hide() {
  if (shown) shown.classList.remove("on");
  shown = null;
  tip.hidden = true;
}

function show(circle) {
  if (circle === shown) return;
  hide();
  shown = circle;
  circle.classList.add("on");
  tip.textContent = circle.dataset.text;
  tip.hidden = false;
  const point = circle.getBoundingClientRect();
  const box = tip.getBoundingClientRect();
  const middle = point.left + point.width / 2 - box.width / 2;
  const left = Math.max(4, Math.min(middle, document.documentElement.clientWidth - box.width - 4));
  const above = point.top - box.height - 6;
  tip.style.left = `${left}px`;
  tip.style.top = `${above > 4 ? above : point.bottom + 6}px`;
}

function nearest(svg, circles, event) {
  const matrix = svg.getScreenCTM();
  if (!matrix) return null;
  let best = null;
  let least = Infinity;
  for (const circle of circles) {
    const x = matrix.a * circle.cx.baseVal.value + matrix.e - event.clientX;
    const y = matrix.d * circle.cy.baseVal.value + matrix.f - event.clientY;
    const distance = Math.hypot(x, y);
    const reach = Math.max(REACH, matrix.a * circle.r.baseVal.value);
    if (distance <= reach && distance < least) [best, least] = [circle, distance];
  }
  return best;
}

function makeHoverable(svg) {
  const circles = [...svg.querySelectorAll(".notes circle")];
  if (!circles.length) return;
  circles.forEach((circle) => {
    // The browser's own tooltip would come a second later, over this one.
    const title = circle.querySelector("title");
    circle.dataset.text = title.textContent;
    title.remove();
  });
  // Where the arrow keys are; scrolling to the drawing hides the text, but does not begin anew.
  let at = null;
  const point = (event) => {
    const circle = nearest(svg, circles, event);
    if (circle) show(circle);
    else hide();
  };
  svg.addEventListener("pointermove", point);
  svg.addEventListener("pointerdown", point);
  svg.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const start = step > 0 ? -1 : circles.length;
    at = ((at ?? start) + step + circles.length) % circles.length;
    show(circles[at]);
  });
  svg.addEventListener("blur", hide);
}

function offerDrawing(article) {
  const svg = article.querySelector(".card svg");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "SVG";
  button.setAttribute("aria-label", `SVG of ${svg.getAttribute("aria-label")}`);
  button.addEventListener("click", () => {
    const link = document.createElement("a");
    const source = new XMLSerializer().serializeToString(svg);
    link.href = URL.createObjectURL(new Blob([source], { type: "image/svg+xml" }));
    link.download = `${article.id}.svg`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  article.querySelector(".downloads").append(button);
}

document.querySelectorAll(".card svg").forEach(makeHoverable);
document.querySelectorAll("article.figure").forEach(offerDrawing);
addEventListener("scroll", hide, { passive: true, capture: true });
addEventListener("keydown", (event) => event.key === "Escape" && hide());
addEventListener("pointerdown", (event) => event.target.closest(".card svg") || hide());

// --- the filter: entries that hold all of its words ------------------------------------------------

const find = document.querySelector(".find");
const articles = [...document.querySelectorAll("article")].map((article) => ({
  article,
  link: document.querySelector(`nav a[href="#${CSS.escape(article.id)}"]`).parentElement,
  category: article.closest("section"),
  words: article.textContent.toLowerCase(),
}));

function filter(text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  for (const { article, link, words: own } of articles) {
    article.hidden = link.hidden = !words.every((word) => own.includes(word));
  }
  for (const section of document.querySelectorAll("main section, nav section")) {
    section.hidden = !section.querySelector("article:not([hidden]), li:not([hidden])");
  }
  document.querySelector(".nothing").hidden = articles.some(({ article }) => !article.hidden);
}

find.hidden = false;
find.querySelector("input").addEventListener("input", (event) => filter(event.target.value));

addEventListener("beforeprint", () => {
  document.querySelectorAll("main details").forEach((details) => (details.open = true));
});

// On a narrow screen the contents are folded away.
if (matchMedia("(max-width: 60rem)").matches) document.querySelector("nav details").open = false;
