// The log: JSON for machines, plain lines for people, and no credential in either.
import { describe, expect, it } from 'vitest'
import { createLogger } from '../../src/telemetry/log.ts'

function logged(isTTY: boolean, write: (log: ReturnType<typeof createLogger>) => void): string {
  let text = ''
  const target = {
    isTTY,
    write: (line: string) => {
      text += line
    },
  }
  write(createLogger({ level: 'info', target }))
  return text
}

const jwt = `eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.${'s'.repeat(40)}`

describe('the log', () => {
  it('is JSON with time and level by name', () => {
    const record = JSON.parse(logged(false, (log) => log.warn({ backend: 'crm' }, 'slow')))
    expect(record).toEqual({ level: 'warn', time: expect.any(String), backend: 'crm', msg: 'slow' })
  })

  it('is a plain line on a terminal, where nothing in it can act', () => {
    const line = logged(true, (log) => log.info({ backend: 'c\u001b[2Jrm', entries: 2 }, 'on\u202e line'))
    expect(line).toMatch(/^\d\d:\d\d:\d\d info {2}on\\u\{202e\} line backend=c\\u\{1b\}\[2Jrm entries=2\n$/)
  })

  it('leaves out what is below its level', () => {
    expect(logged(false, (log) => log.debug('detail'))).toBe('')
  })

  it.each([
    [{ authorization: 'hunter2' }],
    [{ headers: { Authorization: 'hunter2', Cookie: 'hunter2', DPoP: 'hunter2' } }],
    [{ a: [{ b: { access_token: 'hunter2', clientSecret: 'hunter2', 'X-Api-Key': 'hunter2' } }] }],
    [{ credential: { header: 'x', value: 'hunter2' } }],
    [{ url: 'redis://user:hunter2@host:6379' }],
    [{ text: 'sent Bearer hunter2hunter2 to it' }],
    [{ text: `token ${jwt.replace('s'.repeat(40), 'hunter2')} here` }],
    [{ err: Object.assign(new Error('failed'), { request: { headers: ['authorization', 'hunter2'] } }) }],
    [{ err: new Error('outer', { cause: new Error('Authorization: Bearer hunter2hunter2') }) }],
  ])('shows no credential of %j', (fields) => {
    for (const isTTY of [true, false]) {
      const text = logged(isTTY, (log) => log.error(fields, 'failed'))
      expect(text).toContain('failed')
      expect(text).not.toContain('hunter2')
    }
  })

  it('shows no credential in its message or in what a child logger is bound to', () => {
    const text = logged(false, (log) => log.child({ token: 'hunter2' }).info(`got ${jwt}`))
    expect(text).toContain('[redacted]')
    expect(text).not.toMatch(/hunter2|eyJ/)
  })

  it('keeps type, message and code of an error', () => {
    const error = Object.assign(new Error('no route'), { code: 'EHOSTUNREACH' })
    const record = JSON.parse(logged(false, (log) => log.error({ err: error }, 'backend')))
    expect(record.err).toMatchObject({ type: 'Error', message: 'no route', code: 'EHOSTUNREACH' })
  })
})
