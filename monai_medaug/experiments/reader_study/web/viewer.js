// The panels: canvases that show the images of a trial in the same view and window.

class ImageViewer {
  constructor(root, onChange) {
    this.root = root;
    this.onChange = onChange;
    this.panels = [];
    this.pointer = null; // where it hovers, in widths of the image, and over which panel
    new ResizeObserver(() => this.draw()).observe(root);
  }

  // Images are {codes, rows, columns, aspect}; null while they are unpacked.
  show(images, scale) {
    this.scale = scale;
    this.window = { center: scale.center, width: scale.width };
    this.imageHeight = (images[0].rows * images[0].aspect) / images[0].columns;
    this.view = firstView(this.imageHeight);
    this.pointer = null;
    if (this.panels.length !== images.length) this.build(images.length);
    this.panels.forEach((panel, i) => {
      const image = images[i];
      panel.image = image;
      panel.picture.width = image.columns;
      panel.picture.height = image.rows;
      panel.pixels = panel.picture.getContext('2d').createImageData(image.columns, image.rows);
    });
    this.paint();
  }

  clear() {
    this.scale = null;
    for (const panel of this.panels) panel.canvas.getContext('2d').clearRect(0, 0, 1e5, 1e5);
  }

  build(count) {
    this.root.replaceChildren();
    this.panels = Array.from({ length: count }, (_, i) => {
      const box = document.createElement('div');
      box.className = 'panel';
      const canvas = document.createElement('canvas');
      canvas.setAttribute('role', 'img');
      canvas.setAttribute('aria-label', count > 1 ? `image ${'AB'[i]}` : 'image');
      box.append(canvas);
      if (count > 1) {
        const letter = document.createElement('b');
        letter.textContent = 'AB'[i];
        box.append(letter);
      }
      this.root.append(box);
      this.listen(canvas, i);
      return { canvas, picture: document.createElement('canvas') };
    });
  }

  size() {
    const box = this.panels[0].canvas.getBoundingClientRect();
    return { width: Math.max(box.width, 1), height: Math.max(box.height, 1) };
  }

  // Grey values anew, after a change of the window.
  paint() {
    if (!this.scale) return;
    const table = greyTable(this.scale, this.window);
    for (const { image, picture, pixels } of this.panels) {
      const target = new Uint32Array(pixels.data.buffer);
      const { codes } = image;
      for (let i = 0; i < codes.length; i++) target[i] = table[codes[i]];
      picture.getContext('2d').putImageData(pixels, 0, 0);
    }
    this.onChange();
    this.draw();
  }

  draw() {
    if (!this.scale) return;
    const size = this.size();
    const sharp = window.devicePixelRatio || 1;
    const scale = viewScale(this.view, size, this.imageHeight);
    const left = size.width / 2 - this.view.x * scale;
    const top = size.height / 2 - this.view.y * scale;
    this.panels.forEach(({ canvas, picture }, i) => {
      canvas.width = Math.round(size.width * sharp);
      canvas.height = Math.round(size.height * sharp);
      const context = canvas.getContext('2d');
      context.setTransform(sharp, 0, 0, sharp, 0, 0);
      // bilinear, which keeps the value at a pixel's centre; smaller than it is, by means, so that noise isn't aliased
      context.imageSmoothingQuality = scale * sharp >= picture.width ? 'low' : 'medium';
      context.drawImage(picture, left, top, scale, scale * this.imageHeight);
      if (this.pointer && this.pointer.panel !== i) {
        drawCross(context, left + this.pointer.x * scale, top + this.pointer.y * scale);
      }
    });
  }

  reset() {
    if (!this.scale) return;
    this.view = firstView(this.imageHeight);
    this.setWindow(this.scale.center, this.scale.width);
  }

  setWindow(center, width) {
    this.window = { center, width };
    this.paint();
  }

  changeWindow(right, down) {
    if (!this.scale) return;
    this.window = draggedWindow(this.window, right, down, this.scale);
    this.paint();
  }

  zoom(factor, point = { x: 0, y: 0 }) {
    if (!this.scale) return;
    this.view = zoomedView(this.view, factor, point, this.size(), this.imageHeight);
    this.draw();
  }

  move(right, down) {
    if (!this.scale) return;
    this.view = movedView(this.view, right, down, this.size(), this.imageHeight);
    this.draw();
  }

  listen(canvas, index) {
    const fromCentre = (event) => {
      const box = canvas.getBoundingClientRect();
      return { x: event.clientX - box.left - box.width / 2, y: event.clientY - box.top - box.height / 2 };
    };
    let last = null;
    canvas.addEventListener('contextmenu', (event) => event.preventDefault());
    canvas.addEventListener('dblclick', () => this.reset());
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 0 ? event.deltaY / 40 : event.deltaY;
      this.zoom(Math.exp(-0.05 * Math.min(Math.max(lines, -8), 8)), fromCentre(event));
    }, { passive: false });
    canvas.addEventListener('pointerdown', (event) => {
      last = { x: event.clientX, y: event.clientY, window: event.button === 2 };
      canvas.setPointerCapture(event.pointerId);
      canvas.classList.add('moving');
      this.pointer = null;
    });
    const end = () => {
      last = null;
      canvas.classList.remove('moving');
    };
    canvas.addEventListener('pointerup', end);
    canvas.addEventListener('pointercancel', end);
    canvas.addEventListener('pointerleave', () => {
      this.pointer = null;
      this.draw();
    });
    canvas.addEventListener('pointermove', (event) => {
      if (!this.scale) return;
      if (last) {
        const [right, down] = [event.clientX - last.x, event.clientY - last.y];
        last = { ...last, x: event.clientX, y: event.clientY };
        if (last.window) this.changeWindow(right, down);
        else this.move(right, down);
      } else {
        const scale = viewScale(this.view, this.size(), this.imageHeight);
        const point = fromCentre(event);
        this.pointer = { panel: index, x: this.view.x + point.x / scale, y: this.view.y + point.y / scale };
        this.draw();
      }
    });
  }
}

// Where the pointer is on the other image.
function drawCross(context, x, y) {
  context.strokeStyle = '#ffd479';
  context.lineWidth = 1;
  context.beginPath();
  for (const [right, down] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + 5 * right, y + 5 * down);
    context.lineTo(x + 13 * right, y + 13 * down);
  }
  context.stroke();
}
