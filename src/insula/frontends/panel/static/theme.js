// Before anything is drawn: dark where the system is, unless somebody has chosen.
(() => {
  const page = document.documentElement;
  page.classList.add("js");
  if (page.dataset.bsTheme) return;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => { page.dataset.bsTheme = dark.matches ? "dark" : "light"; };
  dark.addEventListener("change", follow);
  follow();
})();
