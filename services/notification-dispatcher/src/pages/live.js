// Renews what stands in #live every few seconds while the page is looked at. Markup comes from the server, escaped.
"use strict";
(() => {
  const pause = 2000;
  const mark = document.getElementById("pulse");
  let failures = 0;
  const busy = () => {
    const focused = document.activeElement;
    const live = document.getElementById("live");
    return live && focused && live.contains(focused) && focused.tagName !== "A";
  };
  const renew = async () => {
    if (document.hidden || busy() || !document.getElementById("live")) return;
    try {
      const answer = await fetch(location.href, { credentials: "same-origin", redirect: "manual", cache: "no-store" });
      if (answer.type === "opaqueredirect") { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("live");
      const shown = document.getElementById("live");
      if (fresh && shown && fresh.innerHTML !== shown.innerHTML && !busy()) shown.replaceWith(document.adoptNode(fresh));
      failures = 0;
    } catch {
      failures += 1;
    }
    if (mark) {
      mark.textContent = failures > 1 ? "not connected" : "live";
      mark.className = failures > 1 ? "badge bad" : "badge good";
    }
  };
  if (mark) { mark.textContent = "live"; mark.className = "badge good"; }
  setInterval(renew, pause);
})();
