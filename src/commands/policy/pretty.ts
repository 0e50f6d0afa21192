// JSON for people: lines are filled, as in prose, and only what fits on no line is broken up. In: a JSON value.
// Out: lines.

/** The value in lines of at most `width` columns, where that can be had. */
export function prettyJson(value: unknown, width: number): string[] {
  return filled('', value, '', width)
}

/** `head`, the value and `tail`; what continues below the first line is indented. */
function filled(head: string, value: unknown, tail: string, width: number): string[] {
  const line = `${head}${inline(value)}${tail}`
  if (line.length <= width || isLeaf(value)) return [line]
  const [open, close] = Array.isArray(value) ? '[]' : '{}'
  const members: [string, unknown][] = Array.isArray(value)
    ? value.map((item) => ['', item])
    : Object.entries(value as object).map(([key, item]) => [`${JSON.stringify(key)}: `, item])
  const lines: string[] = []
  let openLine = false
  for (const [at, [name, item]] of members.entries()) {
    const comma = at === members.length - 1 ? '' : ','
    const piece = filled(name, item, comma, width - 2)
    const fits = openLine && piece.length === 1 && `${lines.at(-1)} ${piece[0]}`.length <= width - 2
    if (fits) lines.push(`${lines.pop()} ${piece[0]}`)
    else lines.push(...piece)
    openLine = piece.length === 1
  }
  return [`${head}${open}`, ...lines.map((text) => `  ${text}`), `${close}${tail}`]
}

/** What cannot be broken up. */
function isLeaf(value: unknown): boolean {
  return typeof value !== 'object' || value === null || Object.keys(value).length === 0
}

/** In one line, with a space after each `:` and `,`, as Rego is written. */
function inline(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(inline).join(', ')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value).map(([key, item]) => `${JSON.stringify(key)}: ${inline(item)}`)
  return `{${members.join(', ')}}`
}
