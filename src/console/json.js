// In: JSON text. Out: its tree with every number and string exactly as it was written, and what two readers of it
// could read differently. Undefined for what is no JSON. Never: a value that JSON.parse has rounded or merged.

/**
 * @typedef {{ kind: 'object', members: [string, Json][] } | { kind: 'array', items: Json[] } |
 *   { kind: 'scalar', source: string }} Json `source`: as written.
 */

/** Deeper than anybody writes, shallow enough for every stack. */
const maxDepth = 200
const token =
  /[\t\n\r ]*([{}[\],:]|"(?:[^"\\\u0000-\u001f]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null|$)/y

class NotJson extends Error {}

/**
 * The tree, and the paths of names that stand twice in one object.
 * @param {string} text
 * @returns {{ tree: Json, twice: string[] } | undefined}
 */
export function readJson(text) {
  const reader = new Reader(text)
  try {
    const tree = reader.value('', 0)
    return reader.next() === '' ? { tree, twice: reader.twice } : undefined
  } catch (error) {
    if (error instanceof NotJson) return undefined
    throw error
  }
}

class Reader {
  /** @type {string[]} */
  twice = []
  #text
  #at = 0

  /** @param {string} text */
  constructor(text) {
    this.#text = text
  }

  /** The next token; '' at the end. */
  next() {
    token.lastIndex = this.#at
    const found = token.exec(this.#text)
    if (found === null) throw new NotJson()
    this.#at = token.lastIndex
    return found[1] ?? ''
  }

  /** @param {string} path @param {number} depth @returns {Json} */
  value(path, depth, first = this.next()) {
    if (depth > maxDepth) throw new NotJson()
    if (first === '{') return { kind: 'object', members: this.#members(path, depth) }
    if (first === '[') return { kind: 'array', items: this.#items(path, depth) }
    if (/^["\-0-9tfn]/.test(first)) return { kind: 'scalar', source: parsed(first) }
    throw new NotJson()
  }

  /** @param {string} path @param {number} depth */
  #members(path, depth) {
    /** @type {[string, Json][]} */
    const members = []
    const seen = new Set()
    let name = this.next()
    if (name === '}') return members
    for (;;) {
      if (!name.startsWith('"') || this.next() !== ':') throw new NotJson()
      const key = JSON.parse(parsed(name))
      const below = join(path, key)
      if (seen.has(key)) this.twice.push(below)
      seen.add(key)
      members.push([key, this.value(below, depth + 1)])
      const after = this.next()
      if (after === '}') return members
      if (after !== ',') throw new NotJson()
      name = this.next()
    }
  }

  /** @param {string} path @param {number} depth */
  #items(path, depth) {
    /** @type {Json[]} */
    const items = []
    let first = this.next()
    if (first === ']') return items
    for (;;) {
      items.push(this.value(join(path, items.length), depth + 1, first))
      const after = this.next()
      if (after === ']') return items
      if (after !== ',') throw new NotJson()
      first = this.next()
    }
  }
}

/** As written, once JSON.parse agrees that it is a value. @param {string} source */
function parsed(source) {
  try {
    JSON.parse(source)
    return source
  } catch {
    throw new NotJson()
  }
}

/**
 * A path as people write it: `customer.address[0].street`, `["a.b"]`.
 * @param {string} path @param {string | number} step
 */
export function join(path, step) {
  if (typeof step === 'number') return `${path}[${step}]`
  if (!/^[A-Za-z_$][\w$-]*$/.test(step)) return `${path}[${JSON.stringify(step)}]`
  return path === '' ? step : `${path}.${step}`
}

/**
 * The tree indented, every value as written.
 * @param {Json} tree
 * @returns {string}
 */
export function indented(tree, margin = '') {
  if (tree.kind === 'scalar') return tree.source
  const below = `${margin}  `
  const parts =
    tree.kind === 'array'
      ? tree.items.map((each) => below + indented(each, below))
      : tree.members.map(([name, each]) => `${below}${JSON.stringify(name)}: ${indented(each, below)}`)
  const [open, close] = tree.kind === 'array' ? '[]' : '{}'
  return parts.length === 0 ? `${open}${close}` : `${open}\n${parts.join(',\n')}\n${margin}${close}`
}
