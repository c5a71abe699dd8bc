const q = document.getElementById("q"), rows = [...document.querySelectorAll(".project .row")];
const clean = text => " " + text.toLowerCase().replace(/[^\p{L}\p{N}.]+/gu, " ");
const text = new Map(rows.map(row => {
  const project = row.closest(".project").querySelector("h3 > span");
  return [row, clean([project, ...row.children].map(it => it.textContent).concat(row.className, row.dataset.by ?? []).join(" "))];
}));
q.hidden = false;
q.oninput = () => {
  const words = clean(q.value).trim().split(" ");
  for (const row of rows) row.hidden = !words.every(word => text.get(row).includes(" " + word));
  for (const project of document.querySelectorAll(".project")) project.hidden = !project.querySelector(".row:not([hidden])");
  for (const rest of document.querySelectorAll(".rest")) rest.open = q.value !== "";
  q.nextSibling.textContent = q.value && `${rows.filter(row => !row.hidden).length} of ${rows.length}`;
};
