// xterm.js writes its rules into <style> elements, which this site's policy forbids. They go into style sheets that a
// script may make, which it allows.
(() => {
  "use strict";
  const create = document.createElement.bind(document);
  document.createElement = (name, options) => {
    const made = create(name, options);
    if (String(name).toLowerCase() !== "style") return made;
    const sheet = new CSSStyleSheet();
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
    const stand = create("span", options);
    stand.hidden = true;
    Object.defineProperty(stand, "textContent", {
      get: () => [...sheet.cssRules].map((rule) => rule.cssText).join("\n"),
      set: (text) => sheet.replaceSync(text),
    });
    Object.defineProperty(stand, "sheet", { get: () => sheet });
    return stand;
  };
})();
