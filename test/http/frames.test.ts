// Where a WebSocket may take another frame: frames of every shape, cut anywhere, in every chunking.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { closeFrame, Frames } from '../../src/http/frames.ts'
import { refuse } from '../../src/refusals.ts'

interface Frame {
  readonly opcode: number
  readonly payload: number
  readonly masked: boolean
  /** How the length is written, whether or not that is the shortest way. */
  readonly lengthBytes: 0 | 2 | 8
}

function encode({ opcode, payload, masked, lengthBytes }: Frame): Buffer {
  const long = payload > 65_535 ? 8 : payload > 125 && lengthBytes === 0 ? 2 : lengthBytes
  const short = long === 0 ? payload : long === 2 ? 126 : 127
  const length = Buffer.alloc(long)
  if (long === 2) length.writeUInt16BE(payload)
  if (long === 8) length.writeBigUInt64BE(BigInt(payload))
  const head = Buffer.from([0x80 | opcode, (masked ? 0x80 : 0) | short])
  // A payload that looks like Close frames, so that losing the place shows.
  return Buffer.concat([head, length, Buffer.alloc(masked ? 4 : 0, 0x88), Buffer.alloc(payload, 0x88)])
}

const frame: fc.Arbitrary<Frame> = fc.record({
  opcode: fc.constantFrom(0, 1, 2, 9, 10),
  payload: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(65_535, 65_536, 70_000)),
  masked: fc.boolean(),
  lengthBytes: fc.constantFrom<0 | 2 | 8>(0, 2, 8),
})

function follow(bytes: Buffer, cuts: readonly number[]): boolean {
  const frames = new Frames()
  let from = 0
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    frames.push(bytes.subarray(from, cut))
    from = Math.max(from, cut)
  }
  frames.push(bytes.subarray(from))
  return frames.betweenFrames
}

test('between two frames is exactly behind the last byte of each, however the bytes are cut', () => {
  const place = fc.integer({ min: 0, max: 100_000 })
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 5 }), fc.array(place), place, (frames, cuts, end) => {
      const encoded = frames.map(encode)
      const whole = Buffer.concat(encoded)
      let at = 0
      const ends = new Set([0, ...encoded.map(({ length }) => (at += length))])
      // Around every end of a frame as well as anywhere.
      for (const place of [
        end % (whole.length + 1),
        ...[...ends].flatMap((each) => [each - 1, each, each + 1]),
      ]) {
        if (place < 0 || place > whole.length) continue
        expect(follow(whole.subarray(0, place), cuts)).toBe(ends.has(place))
      }
    }),
    { numRuns: 300 },
  )
})

test('behind a Close frame there is no place for another', () => {
  const close = encode({ opcode: 8, payload: 2, masked: false, lengthBytes: 0 })
  const text = encode({ opcode: 1, payload: 5, masked: false, lengthBytes: 0 })
  expect(follow(Buffer.concat([text, close]), [1, 3])).toBe(false)
  expect(follow(Buffer.concat([text, close, text]), [])).toBe(false)
})

test('a length that nobody can send is never over', () => {
  const endless = Buffer.concat([Buffer.from([0x82, 127]), Buffer.alloc(8, 0xff)])
  expect(follow(Buffer.concat([endless, Buffer.alloc(1_000)]), [])).toBe(false)
})

test.each([
  ['lease_revoked', 1008],
  ['lease_expired', 1008],
  ['budget_exhausted', 1008],
  ['evidence_unavailable', 1013],
] as const)('%s closes with %i and its code, in one small frame', (code, status) => {
  const frame = closeFrame(refuse(code))
  expect(frame.subarray(0, 2)).toEqual(Buffer.from([0x88, code.length + 2]))
  expect([frame.readUInt16BE(2), frame.toString('latin1', 4)]).toEqual([status, code])
  // RFC 6455 §5.5
  expect(frame.length).toBeLessThanOrEqual(2 + 125)
})
