// Where an event stream may take another event: against a reader of whole texts, in every chunking.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EventStream, isEventStream, lastEvent } from '../../src/http/event_stream.ts'

/** Whether a reader of lines (HTML Standard §9.2.6) has nothing pending: no half line, no line of an open event. */
function isWhole(text: string): boolean {
  const lines = text.split(/\r\n|\n|\r/)
  const half = lines.pop()
  return half === '' && (lines.at(-1) ?? '') === ''
}

function follow(chunks: readonly string[]): boolean {
  const stream = new EventStream()
  for (const chunk of chunks) stream.push(Buffer.from(chunk))
  return stream.betweenEvents
}

describe('between two events', () => {
  test.each([
    ['before the first byte', '', true],
    ['after an event', 'data: x\n\n', true],
    ['after an event with CRLF', 'data: x\r\n\r\n', true],
    ['after an event with CR', 'data: x\r\r', true],
    ['after CRLF and LF', 'data: x\r\n\n', true],
    ['after LF and CRLF', 'data: x\n\r\n', true],
    ['after CR and CRLF', 'data: x\r\r\n', true],
    ['after CRLF and CR, the second half of which may still come', 'data: x\r\n\r', true],
    ['after a comment that stands alone', ':\n\n', true],
    ['after an empty line', '\n', true],
    ['after an empty line with CRLF', '\r\n', true],
    ['in a line', 'data: x', false],
    ['behind a line', 'data: x\n', false],
    ['behind a line with CRLF', 'data: x\r\n', false],
    ['behind a line with CR', 'data: x\r', false],
    ['behind the first line of a new event', 'data: x\n\ndata: y\n', false],
    ['one byte into a new event', 'data: x\n\nd', false],
    ['behind a byte order mark', '\ufeff', false],
  ])('%s', (_, text, between) => {
    expect(follow([text])).toBe(between)
    expect(follow([...text])).toBe(between)
    expect(isWhole(text)).toBe(between)
  })

  test('is where a reader of the whole text finds it, however the bytes are cut', () => {
    const piece = fc.constantFrom('\n', '\r', '\r\n', 'data: x', ':', 'é', '')
    fc.assert(
      fc.property(fc.array(fc.array(piece, { maxLength: 4 }), { maxLength: 12 }), (parts) => {
        const chunks = parts.map((part) => part.join(''))
        expect(follow(chunks)).toBe(isWhole(chunks.join('')))
      }),
      { numRuns: 2_000 },
    )
  })
})

test.each([
  ['text/event-stream', undefined, true],
  ['Text/Event-Stream; charset=utf-8', undefined, true],
  ['text/event-stream ;charset=utf-8', 'identity', true],
  ['text/event-stream', 'gzip', false],
  ['text/event-streams', undefined, false],
  ['text/plain', undefined, false],
  ['application/json; a=text/event-stream', undefined, false],
])('an answer of %s with coding %s: events that can be followed %s', (type, coding, events) => {
  const headers = ['x-first', 'a', 'content-type', type, 'via', '1.1 gate']
  if (coding !== undefined) headers.push('content-encoding', coding)
  expect(isEventStream(headers)).toBe(events)
})

test('an answer that does not say what it is has no events', () => {
  expect(isEventStream(['content-length', '0'])).toBe(false)
})

test('the last event is whole, on one line of data', () => {
  const event = String(lastEvent(JSON.stringify({ detail: 'a\nb\r' })))
  expect(event).toBe('event: lease-refusal\ndata: {"detail":"a\\nb\\r"}\n\n')
  expect(isWhole(event)).toBe(true)
})
