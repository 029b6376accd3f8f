"use strict";
// Words of models and judges come as HTML that was cut down to harmless elements; all else is text.
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const list = byId("list"), item = byId("item"), search = byId("search");
const NAMES = { model: data.model + " won", baseline: data.baseline + " won", tie: "tie", unscored: "unscored", graded: "graded" };
let shown = [], current = -1;

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function words(html) {
  const node = make("div", "words");
  node.innerHTML = html;
  return node;
}

function option(select, value, label) {
  const node = make("option", "", label);
  node.value = value;
  select.append(node);
}

function searchable(question) {
  question.text ??= (question.asked.join(" ") + " " + [...question.model, ...question.baseline]
    .join(" ").replace(/<[^>]*>/g, "").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&quot;/g, '"').replace(/&amp;/g, "&")).toLowerCase();
  return question.text;
}

function matches(question) {
  const wanted = search.value.trim().toLowerCase();
  const category = byId("category").value, verdict = byId("verdict").value;
  return (!category || question.category === category || "difficulty " + question.difficulty === category)
    && (!verdict || question.verdict === verdict)
    && (!byId("disagree").checked || question.flipped)
    && (!wanted || searchable(question).includes(wanted));
}

function filter() {
  const kept = shown[current];
  shown = data.questions.filter(matches);
  byId("count").textContent = shown.length + " of " + data.questions.length + " questions";
  list.replaceChildren(...shown.map(entry));
  for (const bar of document.querySelectorAll(".chart button")) {
    bar.setAttribute("aria-pressed", String(bar.dataset.part === byId("category").value));
  }
  show(Math.max(0, shown.indexOf(kept)), false);
}

function entry(question, at) {
  const button = make("button");
  button.type = "button";
  button.append(make("span", "asked", question.asked[0].slice(0, 200) || "(no question at hand)"));
  const meta = make("span", "meta");
  meta.append(make("span", "", question.category || question.id), make("span", "verdict " + question.verdict, question.result));
  button.append(meta);
  button.addEventListener("click", () => show(at, true));
  const node = make("li");
  node.append(button);
  return node;
}

function side(name, label, turns, lengths) {
  const node = make("section", "side " + name);
  node.append(make("h3", "", label + (lengths ? " \u00b7 " + lengths.toLocaleString("en") + " characters" : "")));
  if (!turns.length) node.append(make("p", "soft", "No answer."));
  turns.forEach((turn, at) => {
    if (turns.length > 1) node.append(make("h3", "", "Turn " + (at + 1)));
    node.append(words(turn));
  });
  return node;
}

function reply(judgment) {
  const node = make("div", "judge");
  const reading = make("div", "reading");
  reading.append(make("span", "soft", judgment.label), make("span", "verdict " + judgment.verdict, judgment.reading));
  node.append(reading, judgment.words ? words(judgment.words) : make("p", "soft", "The judge said nothing."));
  return node;
}

function show(at, focus) {
  current = at;
  for (const [index, node] of [...list.children].entries()) {
    node.firstChild.setAttribute("aria-current", String(index === at));
  }
  const question = shown[at];
  if (!question) {
    item.replaceChildren(make("p", "empty", "No question matches."));
    return;
  }
  const head = make("div", "item-head");
  const about = [question.id, question.category, question.difficulty ? "difficulty " + question.difficulty : ""];
  head.append(make("span", "soft small", about.filter(Boolean).join(" \u00b7 ")));
  const steps = make("span", "steps");
  for (const [label, step] of [["\u2190", -1], ["\u2192", 1]]) {
    const button = make("button", "", label);
    button.type = "button";
    button.setAttribute("aria-label", step < 0 ? "Previous question" : "Next question");
    button.addEventListener("click", () => go(step));
    steps.append(button);
  }
  head.append(steps);
  const parts = [head, make("p", "question", question.asked.join("\n\n\u2014\u2014\n\n"))];
  const answers = make("div", data.baseline ? "pair" : "pair one");
  answers.append(side("model", data.model, question.model, question.characters[0]));
  if (data.baseline) answers.append(side("baseline", data.baseline, question.baseline, question.characters[1]));
  parts.push(answers, make("h3", "", "The judge: " + data.judge));
  const orders = [...new Set(question.judgments.map((one) => one.order))];
  const replies = make("div", orders.length > 1 ? "pair" : "pair one");
  for (const order of orders) {
    const column = make("div");
    column.append(...question.judgments.filter((one) => one.order === order).map(reply));
    replies.append(column);
  }
  parts.push(replies);
  item.replaceChildren(...parts);
  if (focus) {
    history.replaceState(null, "", "#" + encodeURIComponent(question.id));
    list.children[at].scrollIntoView({ block: "nearest" });
    if (matchMedia("(max-width: 760px)").matches) item.scrollIntoView();
  }
}

function go(step) {
  const next = Math.min(shown.length - 1, Math.max(0, current + step));
  if (next !== current && next >= 0) show(next, true);
}

option(byId("category"), "", "all categories");
for (const part of data.parts) option(byId("category"), part, part);
option(byId("verdict"), "", "all verdicts");
for (const verdict of data.verdicts) option(byId("verdict"), verdict, NAMES[verdict]);
byId("flips").classList.toggle("hidden", !data.questions.some((one) => one.flipped));
search.addEventListener("input", filter);
for (const id of ["category", "verdict", "disagree"]) byId(id).addEventListener("change", filter);
for (const bar of document.querySelectorAll(".chart button")) {
  bar.addEventListener("click", () => {
    byId("category").value = byId("category").value === bar.dataset.part ? "" : bar.dataset.part;
    filter();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing) return;
  if (event.key === "j" || event.key === "ArrowRight") go(1);
  else if (event.key === "k" || event.key === "ArrowLeft") go(-1);
  else if (event.key === "/") search.focus();
  else return;
  event.preventDefault();
});
filter();
const named = shown.findIndex((one) => "#" + encodeURIComponent(one.id) === location.hash);
if (named > 0) show(named, true);
