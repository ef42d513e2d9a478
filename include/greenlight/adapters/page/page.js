"use strict";
/* Three things a frame inside Airflow can't do by itself: have its theme, leave it, stay fresh. */
(() => {
  const root = document.documentElement;
  const outer = (() => {
    try {
      return window.parent !== window && window.parent.document ? window.parent : null;
    } catch {
      return null; // framed by somebody else, who is another origin
    }
  })();

  function follow() {
    const above = outer.document.documentElement;
    const named = ["dark", "light"].find((theme) => above.classList.contains(theme));
    const theme = named || above.style.colorScheme;
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
  }
  if (outer) {
    follow();
    new MutationObserver(follow).observe(outer.document.documentElement, {
      attributes: true, attributeFilter: ["class", "style"],
    });
  }

  /* The frame is sandboxed: it may neither leave itself nor open a window. The page around it may. */
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-outside]");
    if (!link || event.defaultPrevented || event.button) return;
    const there = (outer || window).document;
    const same = link.origin === location.origin;
    if (!outer && same) return;
    event.preventDefault();
    const copy = there.createElement("a");
    copy.href = link.href;
    if (!same || event.ctrlKey || event.metaKey) {
      copy.target = "_blank";
      copy.rel = "noopener";
    }
    there.body.append(copy);
    copy.click();
    copy.remove();
  });

  async function refresh(panel) {
    if (document.hidden || panel.contains(document.activeElement)) return;
    const said = document.getElementById("refreshed");
    try {
      const answer = await fetch(`panel/${panel.dataset.panel}`, { redirect: "error" });
      if (!answer.ok) throw new Error(answer.status === 401 ? "log in again" : `answer ${answer.status}`);
      const open = panel.querySelectorAll("details[open]").length;
      panel.innerHTML = await answer.text();
      if (open) panel.querySelectorAll("details").forEach((one) => { one.open = true; });
      panel.classList.remove("stale");
      said.textContent = `, refreshed ${new Date().toISOString().slice(11, 19)}`;
    } catch (error) {
      panel.classList.add("stale");
      said.textContent = `, not refreshed since: ${error.message}`;
    }
  }
  document.addEventListener("DOMContentLoaded", () => {
    for (const panel of document.querySelectorAll("[data-every]")) {
      setInterval(refresh, 1000 * Number(panel.dataset.every), panel);
    }
  });
})();
