/* Small charts, drawn as SVG. */

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const WIDTH = 560;
const BASE = 150;

/* bars: [{label, value, title, kind}]; marks: [{at, label}], at from 0 to 1 across. Labels are thinned to fit. */
function columnChart(name, bars, marks = [], { logarithmic = false } = {}) {
  const most = Math.max(...bars.map((bar) => bar.value), 1);
  const scale = (value) => (value <= 0 ? 0 : logarithmic ? Math.log1p(value) / Math.log1p(most) : value / most);
  const step = WIDTH / bars.length;
  const thin = Math.max(1, Math.ceil(bars.length / (matchMedia("(max-width: 720px)").matches ? 6 : 9)));
  const chart = svg("svg", { viewBox: `-14 -4 ${WIDTH + 28} ${BASE + 52}`, role: "img", "aria-label": name, class: "chart" });
  chart.append(svg("text", { x: 0, y: 12, class: "axis" }, count(most)), svg("line", { x1: 0, x2: WIDTH, y1: BASE + 20, y2: BASE + 20, class: "base" }));
  bars.forEach((bar, place) => {
    const height = Math.max(scale(bar.value) * BASE, bar.value > 0 ? 1.5 : 0);
    chart.append(svg("rect", {
      x: place * step + step * 0.08, width: step * 0.84, y: BASE + 20 - height, height, class: `bar ${bar.kind || ""}`, rx: Math.min(2, step / 6),
    }, svg("title", {}, bar.title)));
    if (bar.label && place % thin === 0) chart.append(svg("text", { x: (place + 0.5) * step, y: BASE + 38, class: "axis middle" }, bar.label));
  });
  for (const mark of marks) {
    if (mark.at < -0.001 || mark.at > 1) continue;
    const x = Math.max(mark.at, 0) * WIDTH;
    chart.append(svg("line", { x1: x, x2: x, y1: 18, y2: BASE + 20, class: "mark" }),
      svg("text", { x: x + (mark.at > 0.8 ? -5 : 5), y: 30, class: `axis ${mark.at > 0.8 ? "end" : ""}` }, mark.label));
  }
  return chart;
}

/* One bar a line, with its name and value: for a handful of things of different kinds. */
function lineBars(rows) {
  const most = Math.max(...rows.map((row) => row.value), 1e-9);
  return element("div", { class: "bars" }, ...rows.map((row) => {
    const fill = element("i");
    fill.style.width = `${100 * row.value / most}%`;
    return element("div", { class: "line" }, element("span", {}, row.label), element("span", { class: "track" }, fill),
      element("span", { class: "value" }, row.text));
  }));
}
