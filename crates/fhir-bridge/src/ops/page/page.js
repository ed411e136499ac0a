// Puts newer sections in the place of older ones, every few seconds. Without it, the page has a link that does the same.
"use strict";

const EVERY_MS = 5000;
const stale = document.getElementById("live-state");

// What somebody is at is left alone: an open question, something typed, a place where the focus is.
function isInUse(section) {
  return section.contains(document.activeElement) || section.querySelector("details[open]") !== null;
}

function replace(text) {
  const newer = new DOMParser().parseFromString(text, "text/html");
  for (const section of newer.querySelectorAll("[data-live]")) {
    const here = document.getElementById(section.id);
    if (here === null || isInUse(here)) continue;
    if (here.className !== section.className) here.className = section.className;
    if (here.innerHTML !== section.innerHTML) here.replaceChildren(...section.childNodes);
  }
}

async function refresh() {
  if (!document.hidden) {
    try {
      const answer = await fetch("/fragment" + location.search, { cache: "no-store" });
      if (answer.status === 401) {
        location.assign("/login");
        return;
      }
      if (answer.ok) replace(await answer.text());
      stale.hidden = answer.ok;
    } catch {
      stale.hidden = false;
    }
  }
  setTimeout(refresh, EVERY_MS);
}

if (stale !== null) setTimeout(refresh, EVERY_MS);
