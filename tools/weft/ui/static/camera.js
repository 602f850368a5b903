// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which part of the map is seen? Drag, wheel, buttons and keys; as long as nobody has used them, all of it.

import { set } from "/dom.js";

const LIMITS = { least: 0.08, most: 2.5, first: 1.15 };
const FAR = 0.55; // below it small text goes
const MARGIN = 28;

export class Camera {
  /** `view` is the <svg>, `world` the group in it that moves. `onMoved` is told when details come or go. */
  constructor(view, world) {
    Object.assign(this, { view, world, x: 0, y: 0, scale: 1, size: { width: 1, height: 1 }, covered: 0, touched: false });
    view.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    view.addEventListener("pointerdown", (event) => this.grab(event));
    new ResizeObserver(() => this.touched || this.fit()).observe(view);
  }

  /** The size of the whole picture; it is shown whole unless the user has chosen a part. */
  extent(width, height) {
    const same = this.size.width === width && this.size.height === height;
    this.size = { width, height };
    if (!same && !this.touched) this.fit();
  }

  /** So many pixels on the right are hidden by something else. */
  cover(pixels) {
    const more = pixels !== this.covered;
    this.covered = pixels;
    if (more && !this.touched) this.fit();
  }

  fit() {
    const { width: all, height } = this.view.getBoundingClientRect();
    const width = Math.max(all - this.covered, all / 3);
    const foot = 44; // the legend
    const scale = Math.min((width - 2 * MARGIN) / this.size.width, (height - 2 * MARGIN - foot) / this.size.height, LIMITS.first);
    this.scale = Math.max(scale, LIMITS.least);
    this.x = (width - this.size.width * this.scale) / 2;
    this.y = Math.max(MARGIN, (height - foot - this.size.height * this.scale) / 2);
    this.touched = false;
    this.apply();
  }

  /** Zooms by `factor` around a point of the view, or its middle. */
  zoom(factor, at) {
    const box = this.view.getBoundingClientRect();
    const point = at ?? { x: box.width / 2, y: box.height / 2 };
    const scale = Math.min(LIMITS.most, Math.max(LIMITS.least, this.scale * factor));
    this.x = point.x - ((point.x - this.x) * scale) / this.scale;
    this.y = point.y - ((point.y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.touched = true;
    this.apply();
  }

  /** Moves so that a place of the map with this size is seen; not at all when it is. */
  reveal(place, size) {
    const box = this.view.getBoundingClientRect();
    const left = place.x * this.scale + this.x;
    const top = place.y * this.scale + this.y;
    const dx = Math.max(MARGIN - left, 0) + Math.min(box.width - this.covered - MARGIN - left - size.width * this.scale, 0);
    const dy = Math.max(MARGIN - top, 0) + Math.min(box.height - MARGIN - top - size.height * this.scale, 0);
    if (dx === 0 && dy === 0) return;
    this.x += dx;
    this.y += dy;
    this.touched = true;
    this.apply();
  }

  wheel(event) {
    event.preventDefault();
    const box = this.view.getBoundingClientRect();
    this.zoom(Math.exp(-event.deltaY * 0.0016), { x: event.clientX - box.left, y: event.clientY - box.top });
  }

  grab(down) {
    if (down.button !== 0 || down.target.closest("[data-id]")) return;
    const begin = { x: this.x - down.clientX, y: this.y - down.clientY };
    const move = (event) => {
      this.x = begin.x + event.clientX;
      this.y = begin.y + event.clientY;
      this.touched = true;
      this.apply();
    };
    const end = () => {
      this.view.removeEventListener("pointermove", move);
      this.view.classList.remove("grabbed");
    };
    this.view.setPointerCapture(down.pointerId);
    this.view.classList.add("grabbed");
    this.view.addEventListener("pointermove", move);
    this.view.addEventListener("pointerup", end, { once: true });
    this.view.addEventListener("pointercancel", end, { once: true });
  }

  apply() {
    const round = (number) => Math.round(number * 1000) / 1000;
    set(this.world, "transform", `translate(${round(this.x)} ${round(this.y)}) scale(${round(this.scale)})`);
    this.view.classList.toggle("far", this.scale < FAR);
    this.view.style.setProperty("--band-text", `${Math.round(Math.min(34, Math.max(12, 12 / this.scale)))}px`);
  }
}
