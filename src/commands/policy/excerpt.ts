// A diagnostic as people read it. In: the diagnostic and the text of its file. Out: lines: the message, the
// source line with carets under the wrong part, the hint. Pure; never passes a control character on.
import type { Diagnostic } from '../../policy/diagnostic.ts'

/** How parts of the excerpt are coloured; each returns its text unchanged where there is no colour. */
export interface Paint {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly yellow: (text: string) => string
  readonly cyan: (text: string) => string
}

/** Characters of a source line that are shown; a longer line is cut around the wrong part. */
const maxLine = 160
const before = 60

const unseen = /[\p{Mn}\p{Me}\p{Cf}]/u
const wide =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}\u3000-\u303e\uff01-\uff60\uffe0-\uffe6]/u
const control = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/gu

/**
 * `file:line:column: error: message [code]` (`file:` where no line is to blame), then the line and its carets where `source` has the line, then the
 * hint. A column counts characters; a tab stays a tab, so that the carets stand where the terminal puts it.
 */
export function excerpt(diagnostic: Diagnostic, source: string | undefined, paint: Paint): string[] {
  const { file, line, column, code, severity, message, hint } = diagnostic
  const where = line > 0 ? `${file}:${line}:${column}:` : `${file}:`
  const place = file === '' ? '' : `${paint.bold(where)} `
  const kind = severity === 'warning' ? paint.yellow('warning:') : paint.red('error:')
  const lines = [`${place}${kind} ${shown(message)} ${paint.dim(`[${code}]`)}`]
  const text = line > 0 ? source?.split('\n')[line - 1] : undefined
  const gutter = ' '.repeat(String(line).length)
  if (text !== undefined && text.trim() !== '') {
    const { head, wrong, tail } = cut(text, diagnostic)
    lines.push(
      `  ${paint.dim(`${line} |`)} ${head}${wrong}${tail}`,
      `  ${paint.dim(`${gutter} |`)} ${blank(head)}${paint.red('^'.repeat(Math.max(1, width(wrong))))}`,
    )
  }
  if (hint !== undefined) lines.push(`  ${paint.dim(`${gutter} =`)} ${paint.cyan(shown(hint))}`)
  return lines
}

/** The line in three parts, without control characters; at most `maxLine` characters of it. */
function cut(text: string, { column, endColumn }: Diagnostic): { head: string; wrong: string; tail: string } {
  const characters = [...shown(text)]
  const start = Math.min(Math.max(column - 1, 0), characters.length)
  const stop = Math.max(endColumn === undefined ? 0 : endColumn - 1, start + 1)
  const from = characters.length > maxLine ? Math.max(0, start - before) : 0
  const to = Math.min(characters.length, from + maxLine)
  const part = (a: number, b: number): string => characters.slice(a, Math.min(b, to)).join('')
  return {
    head: `${from > 0 ? '…' : ''}${part(from, start)}`,
    wrong: part(start, stop),
    tail: `${part(stop, to)}${to < characters.length ? '…' : ''}`,
  }
}

/** As wide as `text`, with its tabs. */
function blank(text: string): string {
  return [...text].map((character) => (character === '\t' ? '\t' : ' '.repeat(width(character)))).join('')
}

/** Columns that a terminal gives to `text`. */
function width(text: string): number {
  return [...text].reduce(
    (sum, character) => sum + (unseen.test(character) ? 0 : wide.test(character) ? 2 : 1),
    0,
  )
}

/** Text for a terminal: control characters could move the cursor or recolour what follows, and are shown as `�`. */
export function shown(text: string): string {
  return text.replace(/\r$/, '').replace(control, '�')
}
