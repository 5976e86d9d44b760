// What makes pages live and quick to use. Every page can be read, and every form sent, without it.
(() => {
  "use strict";
  const body = document.body;
  const one = (selector, from = document) => from.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // Times in the viewer's own zone; the server writes them in UTC.
  const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });
  const told = (seconds) => {
    const [unit, length] = units.find(([, each]) => Math.abs(seconds) >= each) || units[units.length - 1];
    return relative.format(Math.trunc(seconds / length), unit);
  };
  const clock = (from = document) => all("time[datetime]", from).forEach((time) => {
    const moment = new Date(time.dateTime);
    time.title = moment.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
    time.textContent = told((moment - Date.now()) / 1000);
  });
  clock();
  setInterval(clock, 20000);

  // Lines to copy.
  const copyable = (from = document) => all("[data-copy]", from).forEach((line) => {
    if (one("button", line) || !navigator.clipboard) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(one("code", line).textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    line.append(button);
  });
  copyable();

  // Parts of the page fetch themselves anew when the project has changed, unless somebody is at work in them.
  const busy = (part) => part.contains(document.activeElement) && /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)
    || one("input[name=names]:checked, details.deed-box[open]", part) !== null;
  body.addEventListener("htmx:beforeRequest", (event) => {
    const part = event.detail.elt;
    if (part.matches("[data-live-part]") && busy(part)) event.preventDefault();
  });
  body.addEventListener("htmx:load", (event) => { clock(event.detail.elt); copyable(event.detail.elt); });
  body.addEventListener("htmx:responseError", (event) => {
    if (event.detail.xhr.status === 401) location.reload();
  });
  let events = null;
  const listen = () => {
    if (events || !body.dataset.live || !one("[data-live-part]")) return;
    events = new EventSource(body.dataset.live);
    events.addEventListener("changed", () => htmx.trigger(body, "changed"));
  };
  const rest = () => { if (events) events.close(); events = null; };
  // A hidden page asks for nothing; when it is looked at again it is made current first.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return rest();
    listen();
    htmx.trigger(body, "changed");
  });
  addEventListener("pagehide", rest);
  listen();

  // All boxes of a table at once.
  body.addEventListener("change", (event) => {
    if (!event.target.matches("[data-all]")) return;
    all("input[name=names]", event.target.form).forEach((box) => { box.checked = event.target.checked; });
  });
  // A form that is on its way is not sent again.
  body.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.method !== "post" || event.defaultPrevented) return;
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
    setTimeout(() => { delete form.dataset.sent; }, 4000);
  });
  addEventListener("pageshow", () => all("form[data-sent]").forEach((form) => delete form.dataset.sent));

  // The palette.
  const palette = one("#palette");
  if (!palette) return;
  const field = one("input", palette);
  const open = () => {
    if (palette.open) return;
    palette.showModal();
    field.value = "";
    htmx.trigger(field, "open");
    field.focus();
  };
  const options = () => all("#found [role=option]", palette);
  const move = (step) => {
    const list = options();
    const at = list.findIndex((each) => each.getAttribute("aria-selected") === "true");
    list.forEach((each) => each.setAttribute("aria-selected", "false"));
    const next = list[(at + step + list.length) % list.length];
    if (!next) return;
    next.setAttribute("aria-selected", "true");
    next.scrollIntoView({ block: "nearest" });
    field.setAttribute("aria-activedescendant", next.id);
  };
  field.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") { event.preventDefault(); move(1); }
    if (event.key === "ArrowUp") { event.preventDefault(); move(-1); }
    if (event.key === "Enter") {
      event.preventDefault();
      const chosen = one("#found [aria-selected=true]", palette);
      if (chosen) location.assign(chosen.href);
    }
  });
  palette.addEventListener("click", (event) => { if (event.target === palette) palette.close(); });
  all("[data-open=palette]").forEach((button) => button.addEventListener("click", open));

  // Shortcuts: single keys outside of fields.
  const places = { h: "/", i: "/instances", o: "/operations", v: "/volumes", s: "/snapshots", b: "/backups", n: "/networks", f: "/firewalls" };
  let before = "";
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") { event.preventDefault(); open(); return; }
    const inField = event.target.closest("input, textarea, select, dialog, #console");
    if (event.ctrlKey || event.metaKey || event.altKey || inField) return;
    const key = event.key;
    if (before === "g" && places[key]) location.assign(`/panel${places[key]}`);
    else if (key === "/") { event.preventDefault(); (one("#q") || { focus: open }).focus(); }
    else if (key === "c") location.assign("/panel/create");
    else if (key === "?") open();
    before = key;
  });
})();
