// Who is at the other end, as policy sees it.
import { expect, test } from 'vitest'
import { peerOf } from '../../src/http/proxy.ts'

test.each([
  ['10.1.2.3', '10.1.2.3'],
  ['::ffff:10.1.2.3', '10.1.2.3'],
  ['2001:db8::1', '2001:db8::1'],
  [undefined, 'unknown'],
])('%s is %s to policy and to the record', (remoteAddress, peer) => {
  expect(peerOf({ remoteAddress })).toBe(peer)
})
