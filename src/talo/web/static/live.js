// Keeps a page fresh: hears the stream, asks for the page again, replaces its live regions.
"use strict";
(() => {
  const body = document.body;
  const root = body.dataset.root;
  const sign = document.querySelector(".pulse");
  let tag = null, asking = false, again = false, timer = null;

  const say = (state, text) => { if (sign) { sign.dataset.state = state; sign.textContent = text; } };

  // Local times: the server does not know where its reader is.
  const pad = (n) => String(n).padStart(2, "0");
  const times = (within) => within.querySelectorAll("time[datetime]").forEach((el) => {
    const t = new Date(el.dateTime);
    if (isNaN(t)) return;
    const day = `${t.getFullYear()}-${pad(t.getMonth() + 1)}-${pad(t.getDate())}`;
    const now = new Date();
    const today = `${now.getFullYear()}-${pad(now.getMonth() + 1)}-${pad(now.getDate())}`;
    const clock = `${pad(t.getHours())}:${pad(t.getMinutes())}:${pad(t.getSeconds())}`;
    el.textContent = day === today ? clock : `${day} ${clock}`;
    el.title = t.toISOString();
  });

  // A region in which somebody is doing something stays as it is.
  const inUse = (region) => {
    const active = document.activeElement;
    const selection = document.getSelection();
    return region.querySelector("details[open], input:checked:not([data-kept])") !== null
      || (active && active !== body && region.contains(active) && active.matches("input, select, textarea"))
      || (selection && !selection.isCollapsed && region.contains(selection.anchorNode));
  };

  const keepFocus = (region, change) => {
    const active = document.activeElement;
    const held = active && region.contains(active);
    const same = held ? [...region.querySelectorAll("a, button, summary")].indexOf(active) : -1;
    change();
    if (same >= 0) region.querySelectorAll("a, button, summary")[same]?.focus({ preventScroll: true });
  };

  const refresh = async () => {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const headers = { Accept: "text/html" };
      if (tag) headers["If-None-Match"] = tag;
      const answer = await fetch(location.href, { headers, cache: "no-store", credentials: "same-origin" });
      if (answer.status === 304) return;
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) { say("away", "no answer"); return; }
      tag = answer.headers.get("ETag");
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      times(fresh);
      document.querySelectorAll("[data-live]").forEach((region) => {
        const next = fresh.getElementById(region.id);
        if (!next || inUse(region) || next.innerHTML === region.innerHTML) return;
        keepFocus(region, () => { region.innerHTML = next.innerHTML; });
      });
      reach();
      body.dataset.refreshed = String(Number(body.dataset.refreshed || 0) + 1);
    } catch { say("away", "no answer"); } finally {
      asking = false;
      if (again) { again = false; setTimeout(refresh, 500); }
    }
  };

  // What scrolls sideways can be reached by keys.
  const reach = () => document.querySelectorAll(".scroll, .wide").forEach((el) => {
    if (el.scrollWidth > el.clientWidth) el.tabIndex = 0;
  });

  const poll = () => { if (!timer) { say("polling", "every 5 s"); timer = setInterval(() => { if (!document.hidden) refresh(); }, 5000); } };

  const listen = () => {
    if (body.dataset.live !== "yes" || !window.EventSource) { poll(); return; }
    const source = new EventSource(`${root}/live`);
    source.addEventListener("open", () => say("live", "live"));
    source.addEventListener("pulse", (event) => {
      const facts = JSON.parse(event.data);
      if (facts.away) { say("away", "store away"); return; }
      say("live", "live");
      sign?.classList.remove("beat");
      void sign?.offsetWidth;
      sign?.classList.add("beat");
      if (!document.hidden) refresh();
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) { poll(); } else { say("away", "reconnecting"); }
    });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  };

  // What takes longer comes later: a part of another page of ours.
  document.querySelectorAll("[data-load]").forEach(async (place) => {
    try {
      const answer = await fetch(place.dataset.load, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      const part = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(place.dataset.part);
      if (answer.ok && part) place.replaceChildren(...part.childNodes);
    } catch { /* its link stays */ }
  });

  // A search that takes longer than a page may goes on by itself until there is a page to show, for a while.
  const further = async () => {
    const runs = document.getElementById("live-runs");
    const until = Date.now() + 10000;
    for (;;) {
      const pager = document.querySelector(".pager[data-further]");
      if (!pager || runs.querySelectorAll("tbody tr").length >= Number(pager.dataset.further) || Date.now() > until) return;
      const answer = await fetch(pager.querySelector("a").href, { headers: { Accept: "text/html" }, credentials: "same-origin" });
      if (!answer.ok) return;
      const next = new DOMParser().parseFromString(await answer.text(), "text/html");
      times(next);
      const rows = next.querySelectorAll("#live-runs tbody tr");
      const body = runs.querySelector("tbody");
      if (rows.length && body) body.append(...rows);
      else if (!body) runs.replaceChildren(...next.getElementById("live-runs").childNodes);
      const place = next.querySelector(".pager");
      if (place) pager.replaceWith(place); else pager.remove();
    }
  };

  times(document);
  reach();
  further().catch(() => { /* its link stays */ });
  addEventListener("resize", reach);
  if (document.querySelector("[data-live]")) listen();
})();
