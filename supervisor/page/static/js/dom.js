// @ts-check
/** Small steps between values and the document. Nothing here ever parses text as HTML. */

/**
 * The element of `index.html` with this id.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no element ${id}`);
  return /** @type {T} */ (element);
}

/**
 * A new element.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Readonly<Record<string, string>>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/**
 * Set an element's text, leaving the document alone when nothing changes: selections survive and nothing is laid out.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * @param {HTMLElement} element
 * @param {boolean} isShown
 */
export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/**
 * Calls `draw` at most once a frame, however often it is asked to.
 * @param {() => void} draw
 * @returns {() => void}
 */
export function eachFrame(draw) {
  let isAsked = false;
  return () => {
    if (isAsked) return;
    isAsked = true;
    // A hidden tab gets no frames; a timer keeps its title and its announcements true.
    const next = document.hidden ? setTimeout : requestAnimationFrame;
    next(() => {
      isAsked = false;
      draw();
    });
  };
}
