// A call exactly as it would go out: method, path, query, headers, bytes. In: the call. Out: text and hex in which
// nothing hides. Long ones are folded, with their size; nothing is left out for good.
import { html } from 'htm/preact'
import { useMemo, useState } from 'preact/hooks'
import { fromBase64, hexRows, sizeInWords, textOf } from './bytes.js'
import { indented, readJson } from './json.js'
import { Words } from './ui.js'
import { hasMarks } from './visible.js'

const firstShown = 4_096
const moreShown = 65_536

/** @param {{ call: import('./shapes.js').Call, what: Partial<import('./shapes.js').What> }} props */
export function Exact({ call, what }) {
  const [path = '', query] = splitOnce(call.target, '?')
  const bytes = useMemo(() => fromBase64(call.body_base64), [call.body_base64])
  return html`<section class="exact">
    <h2>The exact call</h2>
    <p class="request"><span class="method">${call.method}</span> <${Words} text=${path} names /></p>
    ${query === undefined ? null : html`<${Query} query=${query} />`}
    <details class="small"><summary>${call.headers.length} headers</summary>
      <table class="headers"><tbody>${call.headers.map(([name, value], at) => html`<tr key=${at}><th scope="row"><${Words} text=${name} names /></th><td><${Words} text=${value} names /></td></tr>`)}</tbody></table>
    </details>
    ${bytes.length === 0 ? html`<p class="nothing">No body.</p>` : html`<${Body} bytes=${bytes} type=${what.content_type} />`}
  </section>`
}

/** As sent, one parameter a line; decoded beside it where that reads differently. @param {{ query: string }} props */
function Query({ query }) {
  return html`<ul class="query">${query.split('&').map((pair, at) => {
    const decoded = decode(pair)
    return html`<li key=${at}>${at === 0 ? '?' : '&'}<${Words} text=${pair} names />${decoded === pair ? null : html` <span class="meaning">reads <${Words} text=${decoded} /></span>`}</li>`
  })}</ul>`
}

/** @param {string} text */
function decode(text) {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch {
    return text
  }
}

/** @param {string} text @param {string} at */
function splitOnce(text, at) {
  const found = text.indexOf(at)
  return found === -1 ? [text] : [text.slice(0, found), text.slice(found + 1)]
}

/** @param {{ bytes: Uint8Array, type?: string }} props */
export function Body({ bytes, type }) {
  const text = useMemo(() => textOf(bytes), [bytes])
  const json = useMemo(() => (text === undefined ? undefined : readJson(text)), [text])
  const [chosen, setChosen] = useState(/** @type {string | undefined} */ (undefined))
  const marked = useMemo(() => text !== undefined && hasMarks(text), [text])
  const ways = text === undefined ? ['hex'] : json === undefined ? ['text', 'hex'] : ['json', 'text', 'hex']
  const way = chosen ?? ways[0]
  return html`<div class="body">
    <div class="ways" role="group" aria-label="Show the body as">
      ${ways.map((each) => html`<button key=${each} type="button" aria-pressed=${each === way} onClick=${() => setChosen(each)}>${wayWords[each]}</button>`)}
      <span class="size"><${Words} text=${type ?? 'no content type'} names />, ${sizeInWords(bytes.length)}</span>
    </div>
    ${text === undefined ? html`<p class="banner wary">These bytes are not UTF-8 text; they are shown as hex.</p>` : null}
    ${marked ? html`<p class="banner wary">Some characters in it hide, reorder text or look like others. Each is marked where it stands.</p>` : null}
    ${json !== undefined && json.twice.length > 0 ? html`<p class="banner bad">Names that stand twice: <${Words} text=${json.twice.join(', ')} />. Programs differ on which one counts.</p>` : null}
    <${Folded} key=${way} text=${way === 'hex' ? undefined : way === 'json' && json !== undefined ? indented(json.tree) : text} bytes=${bytes} indents=${way === 'json'} />
  </div>`
}

/** @type {Readonly<Record<string, string>>} */
const wayWords = { json: 'Indented', text: 'As sent', hex: 'Hex' }

/** @param {{ text: string | undefined, bytes: Uint8Array, indents: boolean }} props `text` undefined: hex. */
function Folded({ text, bytes, indents }) {
  const [shown, setShown] = useState(firstShown)
  const length = text === undefined ? bytes.length : text.length
  const part = text === undefined ? hexRows(bytes.subarray(0, shown)).join('\n') : whole(text, shown)
  return html`<pre class="bytes" tabindex="0" aria-label="Body"><code>${text === undefined ? part : html`<${Words} text=${part} lines indented=${indents} />`}</code></pre>
    ${
      shown < length
        ? html`<p class="fold">Not all of it: ${shown.toLocaleString('en')} of ${length.toLocaleString('en')} ${text === undefined ? 'bytes' : 'characters'}.
            <button type="button" onClick=${() => setShown(shown + moreShown)}>Show more</button></p>`
        : null
    }`
}

/** Never half a character. @param {string} text @param {number} length */
function whole(text, length) {
  const ends = /[\ud800-\udbff]/.test(text[length - 1] ?? '') ? length + 1 : length
  return text.slice(0, ends)
}
