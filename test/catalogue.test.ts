// The table of refusals, its two documents, the code that refuses and the tests: each names the same codes.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type RefusalCode, type RefusalRow, refusals } from '../src/refusals.ts'

const root = join(import.meta.dirname, '..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const table: readonly (readonly [RefusalCode, RefusalRow])[] = Object.entries(refusals) as [
  RefusalCode,
  RefusalRow,
][]
const codes: readonly string[] = table.map(([code]) => code)

/** Rows of the table under the header row that begins with `first`; cells without their backticks. */
function rowsOf(document: string, first: string): string[][] {
  const lines = read(document).split('\n')
  const start = lines.findIndex((line) => line.startsWith(`| ${first} |`))
  const end = lines.findIndex((line, at) => at > start && !line.startsWith('|'))
  return lines.slice(start + 2, end).map((line) =>
    line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim()),
  )
}

/** Codes that stand in backticks or quotes in `text`. */
function codesIn(text: string): string[] {
  const named = [...text.matchAll(/['`]([a-z_]+)['`]/g)].map(([, code]) => code!)
  return [...new Set(named)].filter((code) => codes.includes(code)).toSorted()
}

describe('docs/refusals.md', () => {
  const rows = rowsOf('docs/refusals.md', 'code')

  test('has the rows of the table, in its order', () => {
    const told = rows.map(([code, status, title, next]) => [code, status, title, next])
    expect(told).toEqual(
      table.map(([code, row]) => [`\`${code}\``, String(row.status), row.title, `\`${row.nextAction}\``]),
    )
  })

  test('has different advice for each', () => {
    const advice = rows.map((row) => row[4]!)
    expect(new Set(advice).size).toBe(codes.length)
    expect(advice.filter((sentence) => !/^[A-Z].{20,}\.$/.test(sentence))).toEqual([])
  })
})

describe('docs/pipeline.md', () => {
  const text = read('docs/pipeline.md')
  const steps = rowsOf('docs/pipeline.md', 'step').map(([step, , sources, refusing]) => ({
    step: step!,
    sources: [...sources!.matchAll(/\]\(([^)]+)\)/g)].map(([, path]) => join('docs', path!)),
    codes: codesIn(refusing!),
  }))

  test('draws the steps in the order of the pipeline', () => {
    const order = steps.map(({ step }) => step)
    expect(text).toContain(`${order.join(' --> ')}\n`)
    expect(read('src/enforce/pipeline.ts').replace(/\n\/\/ /g, ' ')).toContain(order.slice(1).join(' → '))
  })

  test.each(steps)('names every code that the source of $step refuses with', ({ sources, codes: told }) => {
    const refused = codesIn(sources.map(read).join('\n')).filter((code) => code !== 'internal_error')
    expect(told).toEqual(refused)
  })

  test.each(steps)('draws the statuses of $step', ({ step, codes: told }) => {
    const statuses = new Set(told.map((code) => refusals[code as RefusalCode].status))
    const drawn = new RegExp(`^  ${step} -\\. "([^"]*)" \\.-> refusal$`, 'm').exec(text)?.[1]
    expect(drawn).toBe(statuses.size === 0 ? undefined : [...statuses].toSorted().join(' '))
  })

  test('leaves no code out, and has none that is not in the table', () => {
    expect(codesIn(text)).toEqual(codes.toSorted())
    const unknown = steps.flatMap(
      ({ step }) =>
        rowsOf('docs/pipeline.md', 'step')
          .find(([name]) => name === step)![3]!
          .match(/[a-z_]+/g) ?? [],
    )
    expect(unknown.filter((code) => !codes.includes(code))).toEqual([])
  })
})

describe('every code', () => {
  const tests = readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.test.ts') && dirname(path) !== '.')
    .map((path) => readFileSync(join(root, 'test', path), 'utf8'))

  test.each(codes)('%s is produced in a test', (code) => {
    expect(tests.some((source) => source.includes(`'${code}'`))).toBe(true)
  })

  test.each(codes)('%s is refused with somewhere in the source', (code) => {
    const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter(
      (path) => path.endsWith('.ts') && path !== 'refusals.ts',
    )
    expect(
      sources.some((path) => codesIn(readFileSync(join(root, 'src', path), 'utf8')).includes(code)),
    ).toBe(true)
  })

  test.each(table)('%s is consistent in itself', (_, { status, nextAction, error, retryAfter, close }) => {
    expect(status).toBeGreaterThanOrEqual(400)
    // RFC 6750 §3.1 and RFC 9449 §7.1, §9 fix the status of each error code.
    if (error !== undefined) {
      const known = { invalid_request: 400, invalid_token: 401, insufficient_scope: 403 }
      const proofs = { invalid_dpop_proof: 401, use_dpop_nonce: 401 }
      expect(status).toBe({ ...known, ...proofs, insufficient_user_authentication: 401 }[error])
    }
    if (retryAfter !== undefined) expect(nextAction).toBe('retry')
    // A message whose framing is in doubt must not be followed by another.
    if (status === 501) expect(close).toBe(true)
  })
})
