import { h, s } from "./dom";

const kept = [
  "fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "opacity", "fill-opacity", "stroke-opacity",
  "font-family", "font-size", "font-weight", "text-anchor", "paint-order", "color", "visibility", "display", "direction", "unicode-bidi",
];

// frozen is a copy of a drawing that looks the same without the page's style sheet.
function frozen(drawing: SVGSVGElement): SVGSVGElement {
  const copy = drawing.cloneNode(true) as SVGSVGElement;
  const from = [drawing, ...drawing.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  from.forEach((element, i) => {
    const style = getComputedStyle(element), target = to[i]!;
    for (const name of kept) {
      const value = style.getPropertyValue(name);
      if (value && !(name === "fill" && element.getAttribute("fill")?.startsWith("url("))) target.setAttribute(name, value);
    }
    for (const name of ["class", "tabindex", "role", "aria-label", "aria-describedby", "data-seed", "data-stage"]) target.removeAttribute(name);
  });
  return copy;
}

// compose puts drawings under each other, with a title above.
function compose(title: string, drawings: SVGSVGElement[]): SVGSVGElement {
  const width = Math.max(...drawings.map((d) => Number(d.getAttribute("width"))));
  const body = getComputedStyle(document.body);
  let y = 40;
  const parts = drawings.map((drawing) => {
    const copy = frozen(drawing);
    copy.setAttribute("x", "16");
    copy.setAttribute("y", String(y));
    y += Number(drawing.getAttribute("height")) + 8;
    return copy;
  });
  return s("svg", { width: width + 32, height: y + 8, viewBox: `0 0 ${width + 32} ${y + 8}` },
    s("rect", { width: "100%", height: "100%", fill: body.backgroundColor }),
    s("text", { x: 16, y: 26, fill: body.color, "font-family": body.fontFamily, "font-size": "15px", "font-weight": "600" }, title),
    ...parts);
}

export function offer(blob: Blob, name: string): void {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  window.setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

function svgBlob(drawing: SVGSVGElement): Blob {
  return new Blob([new XMLSerializer().serializeToString(drawing)], { type: "image/svg+xml" });
}

export function fileName(text: string): string {
  return text.replace(/[^A-Za-z0-9._-]+/g, "_").replace(/^\.+/, "").slice(0, 80) || "run";
}

export function saveSVG(title: string, drawings: SVGSVGElement[], name: string): void {
  offer(svgBlob(compose(title, drawings)), name + ".svg");
}

export async function savePNG(title: string, drawings: SVGSVGElement[], name: string): Promise<void> {
  const drawing = compose(title, drawings);
  const width = Number(drawing.getAttribute("width")), height = Number(drawing.getAttribute("height"));
  const address = URL.createObjectURL(svgBlob(drawing));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const scale = Math.min(2, 16_000 / Math.max(width, height));
    const canvas = h("canvas", { width: Math.round(width * scale), height: Math.round(height * scale) });
    canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
    if (blob) offer(blob, name + ".png");
  } finally {
    URL.revokeObjectURL(address);
  }
}
