// Keys and small comforts: "g" and a letter, "/" to search, Escape to close, one box for all, an action in many steps.
"use strict";
(() => {
  let waiting = false;
  const typing = (el) => el.closest("input, select, textarea, [contenteditable]");
  const goes = () => { waiting = false; document.body.classList.remove("keys"); };

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      document.querySelectorAll("details.ask[open]").forEach((el) => { el.open = false; el.querySelector("summary").focus(); });
      goes();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (waiting) {
      const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
      goes();
      if (link) { event.preventDefault(); location.href = link.href; }
    } else if (event.key === "g") {
      waiting = true;
      document.body.classList.add("keys");
      setTimeout(goes, 1500);
    } else if (event.key === "/") {
      const field = document.querySelector("[data-search]");
      if (field) { event.preventDefault(); field.focus(); }
    } else if (event.key === "?") {
      location.href = `${document.body.dataset.root}/help`;
    }
  });

  document.addEventListener("click", (event) => {
    document.querySelectorAll("details.ask[open]").forEach((el) => { if (!el.contains(event.target)) el.open = false; });
  });

  document.addEventListener("change", (event) => {
    const all = event.target.closest("[data-all]");
    if (all) document.querySelectorAll(`input[name="${CSS.escape(all.dataset.all)}"]`).forEach((box) => { box.checked = all.checked; });
    const count = document.querySelectorAll("tbody input[type=checkbox]:checked").length;
    document.querySelectorAll("[data-count]").forEach((el) => { el.textContent = count ? `${count} chosen` : "none chosen"; });
  });

  // What takes many steps goes on from one to the next while this page is open, and tells how far it is.
  document.querySelector("form[data-steps]")?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const button = form.querySelector("button");
    const told = form.querySelector("[data-steps-told]");
    const { csrf, next, onward, ...given } = Object.fromEntries(new FormData(form));
    const asked = { ...given, done: Number(given.done), expected: Number(given.expected) };
    const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
    const options = () => ({ method: "POST", headers, body: JSON.stringify(asked), credentials: "same-origin" });
    button.disabled = true;
    try {
      for (let rest = {}; rest;) {
        Object.assign(asked, rest);
        // Not form.action: that is the field of this name.
        const answer = await fetch(form.getAttribute("action"), options());
        const facts = await answer.json();
        told.textContent = answer.ok ? facts.text : facts.detail;
        rest = answer.ok ? facts.rest : null;
      }
    } catch {
      told.textContent = "No answer: what was done is done, and it can be begun again.";
      button.disabled = false;
    }
  });
})();
