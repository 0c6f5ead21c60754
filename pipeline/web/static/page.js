// Renews what is live on the page without a reload, so that scrolling stays; says so when the pipeline is away.
"use strict";
const PERIOD = 2000;
const PATIENCE = 8000;

async function renew() {
  const response = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
  if (!response.ok) throw new Error(response.statusText);
  const next = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const place of ["main", "body > header"]) {
    document.querySelector(place).replaceWith(next.querySelector(place));
  }
}

async function tick() {
  if (!document.hidden) {
    try {
      await renew();
      document.getElementById("lost").hidden = true;
      document.body.classList.remove("away");
    } catch {
      document.getElementById("lost").hidden = false;
      document.body.classList.add("away");
    }
  }
  setTimeout(tick, PERIOD);
}

setTimeout(tick, PERIOD);
