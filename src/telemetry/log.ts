// In: what the process has to say about itself. Out: JSON lines, or plain text lines on a terminal, on stderr.
// Never: a credential, whatever key or text it hides in; one line per request is not written here (line.ts).
import { type Logger, pino } from 'pino'
import { visible } from './line.ts'
import { withoutTokens } from './shown.ts'

export type { Logger } from 'pino'

/** Where log lines go. `process.stderr` is one. */
export interface LogTarget {
  write(line: string): unknown
  readonly isTTY?: boolean
}

/** Names whose values are never written, compared without letter case, `-` and `_`, at any depth. */
const secretNames =
  /^(proxy)?authorization$|^dpop$|^(set)?cookie$|token$|secret$|password$|passphrase$|credential|^(private|api|x?api)key$|^jwk$|assertion$/

/** Credentials inside other text: a scheme with its value, a password in a URL. Tokens are shown.ts's. */
const secretTexts: readonly (readonly [RegExp, string])[] = [
  [/\b(bearer|dpop|basic)\s+[\w.~+/=-]{8,}/gi, '$1 [redacted]'],
  [/(:\/\/[^\s/:@"]*):[^\s/@"]+@/g, '$1:[redacted]@'],
]

/** A pino logger at `level`. Keys in `secretNames` and texts in `secretTexts` come out as `[redacted]`. */
export function createLogger(options: {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly target?: LogTarget
}): Logger {
  const target = options.target ?? process.stderr
  // Redacting the finished line covers every way into it: fields, child bindings, serializers, the message.
  const write = (line: string) => {
    const record = redact(JSON.parse(line)) as LogRecord
    target.write(`${target.isTTY === true ? plainLine(record) : JSON.stringify(record)}\n`)
  }
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: errorFields },
    },
    { write },
  )
}

type LogRecord = Readonly<Record<string, unknown>>

/** `value`, which came out of JSON, with `[redacted]` for what could be a credential. */
function redact(value: unknown): unknown {
  if (typeof value === 'string') {
    return secretTexts.reduce((text, [pattern, shown]) => text.replace(pattern, shown), withoutTokens(value))
  }
  if (Array.isArray(value)) return value.map(redact)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, isSecret(key) ? '[redacted]' : redact(item)]),
  )
}

function isSecret(key: string): boolean {
  return secretNames.test(key.toLowerCase().replace(/[-_]/g, ''))
}

/** Other properties of an error may hold requests with their headers, so they stay out. */
function errorFields(error: unknown): unknown {
  if (!(error instanceof Error)) return error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  const cause = error.cause === undefined ? undefined : errorFields(error.cause)
  return { type: error.name, message: error.message, code, stack: error.stack, cause }
}

/** `14:32:01 warn  text key=value`. */
function plainLine({ time, level, msg, ...rest }: LogRecord): string {
  const fields = Object.entries(rest).map(([key, value]) => ` ${visible(key)}=${visibleValue(value)}`)
  const words = String(msg ?? '')
    .split(' ')
    .map(visible)
  return `${String(time).slice(11, 19)} ${String(level).padEnd(5)} ${words.join(' ')}${fields.join('')}`
}

function visibleValue(value: unknown): string {
  return visible(typeof value === 'string' ? value : JSON.stringify(value))
}
