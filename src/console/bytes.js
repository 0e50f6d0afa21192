// In: bytes of a call. Out: their text if they are UTF-8, rows of hex, a size in words. Pure; repairs nothing.

/** @param {string} base64 @returns {Uint8Array<ArrayBuffer>} */
export function fromBase64(base64) {
  return Uint8Array.from(atob(base64), (each) => each.charCodeAt(0))
}

/**
 * Undefined: not UTF-8. A byte order mark stays, to be shown.
 * @param {Uint8Array} bytes
 * @returns {string | undefined}
 */
export function textOf(bytes) {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/**
 * Sixteen bytes a row: offset, hex, printable ASCII.
 * @param {Uint8Array} bytes
 */
export function hexRows(bytes) {
  const rows = []
  for (let at = 0; at < bytes.length; at += 16) {
    const some = [...bytes.subarray(at, at + 16)]
    const hex = some.map((each) => each.toString(16).padStart(2, '0')).join(' ')
    const ascii = some.map((each) => (each > 31 && each < 127 ? String.fromCharCode(each) : '·')).join('')
    rows.push(`${at.toString(16).padStart(8, '0')}  ${hex.padEnd(47)}  ${ascii}`)
  }
  return rows
}

/** @param {number} bytes */
export function sizeInWords(bytes) {
  if (bytes < 1024) return `${bytes} ${bytes === 1 ? 'byte' : 'bytes'}`
  const [size, unit] = bytes < 1024 ** 2 ? [bytes / 1024, 'KiB'] : [bytes / 1024 ** 2, 'MiB']
  return `${size.toFixed(1)} ${unit} (${bytes.toLocaleString('en')} bytes)`
}
