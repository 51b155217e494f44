// The theme that was chosen, before anything is drawn; and the toggle.
"use strict";
(() => {
  const root = document.documentElement;
  const kept = () => { try { return localStorage.getItem("talo-theme"); } catch { return null; } };
  const chosen = kept();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-toggle-theme]")) return;
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("talo-theme", root.dataset.theme); } catch { /* private window: until the next page */ }
  });
})();
