/* A list of any length of which only the rows in sight exist. */

/* Browsers cannot scroll further than some ten million pixels; longer lists scroll in proportion. */
const LONGEST = 8e6;
const PRINTED = 300;

class RowList {
  /* render(item, row) fills an empty element; select(place) is called when another row becomes the current one. */
  constructor(container, height, label, render, select) {
    this.height = height;
    this.render = render;
    this.select = select;
    this.items = [];
    this.active = -1;
    this.rows = new Map();
    this.space = element("div", { class: "space", role: "list", "aria-label": label });
    this.scroller = element("div", { class: "scroller", tabIndex: 0, role: "group", "aria-label": label }, this.space);
    this.empty = element("p", { class: "empty" }, "Nothing to show.");
    this.scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.scroller);
    container.append(this.scroller, this.empty);
  }

  /* Shows other items; the current place is kept where it still exists. */
  set(items, fromTop = false) {
    this.items = items;
    if (fromTop) this.active = 0;
    this.space.style.height = `${Math.min(items.length * this.height, LONGEST)}px`;
    this.empty.hidden = items.length > 0;
    this.clear();
    this.activate(Math.min(Math.max(this.active, 0), items.length - 1), false);
    if (fromTop) this.scroller.scrollTop = 0;
    this.draw();
  }

  clear() {
    for (const row of this.rows.values()) row.remove();
    this.rows.clear();
  }

  /* Draws all rows in sight anew, as when a decision was made. */
  redraw() {
    this.clear();
    this.draw();
  }

  get ratio() {
    const view = this.scroller.clientHeight;
    const total = this.items.length * this.height;
    return total <= LONGEST || view >= LONGEST ? 1 : (total - view) / (LONGEST - view);
  }

  draw() {
    const view = this.scroller.clientHeight;
    if (!view) return;
    const top = this.scroller.scrollTop;
    const offset = top * this.ratio;
    const first = Math.max(0, Math.floor(offset / this.height) - 3);
    const last = Math.min(this.items.length, Math.ceil((offset + view) / this.height) + 3);
    for (const [place, row] of this.rows) {
      if (place < first || place >= last) {
        row.remove();
        this.rows.delete(place);
      }
    }
    for (let place = first; place < last; place++) {
      let row = this.rows.get(place);
      if (!row) {
        row = this.build(place);
        const next = [...this.rows.keys()].filter((other) => other > place).sort((a, b) => a - b)[0];
        this.space.insertBefore(row, next === undefined ? null : this.rows.get(next));
        this.rows.set(place, row);
      }
      row.style.transform = `translateY(${top + place * this.height - offset}px)`;
    }
  }

  build(place) {
    const row = element("div", {
      class: "row", role: "listitem",
      "aria-setsize": this.items.length, "aria-posinset": place + 1,
      on: { pointerdown: () => this.activate(place, false) },
    });
    row.style.height = `${this.height}px`;
    this.render(this.items[place], row);
    this.mark(place, row);
    return row;
  }

  mark(place, row) {
    if (place === this.active) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }

  activate(place, scrolls = true) {
    this.active = place;
    for (const [other, row] of this.rows) this.mark(other, row);
    if (scrolls && place >= 0) this.show(place);
    this.select(place);
  }

  move(step) {
    const place = Math.min(Math.max(this.active + step, 0), this.items.length - 1);
    if (place !== this.active) this.activate(place);
  }

  show(place) {
    const view = this.scroller.clientHeight;
    const offset = this.scroller.scrollTop * this.ratio;
    const top = place * this.height;
    if (top < offset) this.scroller.scrollTop = top / this.ratio;
    else if (top + this.height > offset + view) this.scroller.scrollTop = Math.ceil((top + this.height - view) / this.ratio);
    this.draw();
  }

  /* On paper there is no scrolling: the first rows stand one below the other. */
  print() {
    this.clear();
    const last = Math.min(this.items.length, PRINTED);
    for (let place = 0; place < last; place++) {
      const row = this.build(place);
      this.space.append(row);
      this.rows.set(place, row);
    }
    if (last < this.items.length) {
      const rest = element("p", { class: "facts" }, `and ${count(this.items.length - last)} more, not printed`);
      this.space.append(rest);
      this.rows.set(last, rest);
    }
  }
}
