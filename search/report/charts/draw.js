// Draws the charts of a page from their specifications; without scripts their texts and tables stay.
{
  const options = {
    ast: true, // expressions are interpreted: the page's policy forbids to compile them
    actions: false,
    renderer: "svg",
    defaultStyle: false,
    tooltip: { disableDefaultStyle: true },
  };

  // panels beside one another, as many as fit: `usermeta.panels` gives the bounds in pixels
  const fit = (spec, width) => {
    const panels = spec.usermeta?.panels;
    if (!panels) return;
    const columns = Math.max(1, Math.min(panels.columns, Math.floor(width / panels.least)));
    const each = Math.min(panels.most, Math.floor((width - panels.inset) / columns) - panels.gap);
    if (columns > 1 || spec.columns) spec.columns = columns;
    const resize = (view) => {
      if (view.width) view.width = each;
      for (const part of [view.spec, ...(view.concat ?? []), ...(view.vconcat ?? [])]) if (part) resize(part);
    };
    resize(spec);
  };

  const drawn = new Map();
  const draw = async (box) => {
    const spec = JSON.parse(document.getElementById(box.id.replace(/-chart$/, "-spec")).textContent);
    fit(spec, box.clientWidth);
    drawn.get(box)?.finalize();
    drawn.set(box, await vegaEmbed(box, spec, options));
    box.closest("figure")?.classList.add("drawn");
  };

  const boxes = [...document.querySelectorAll(".chart")];
  const hidden = (box) => box.closest("details:not([open])");
  const start = async () => {
    for (const box of boxes) {
      const details = hidden(box);
      if (!details) await draw(box).catch(console.error).then(() => new Promise((go) => setTimeout(go)));
      else details.addEventListener("toggle", () => drawn.has(box) || draw(box).catch(console.error));
    }
    document.documentElement.dataset.charts = "drawn";
  };
  start();

  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      for (const [box, view] of drawn) if (view.spec.usermeta?.panels) draw(box).catch(console.error);
    }, 250);
  });
}
