// In: text that an agent or a stranger wrote. Out: pieces to show, where every character that hides, reorders, breaks
// or passes for another is a marked escape. Never: a piece whose text holds such a character, or that loses one.

/**
 * @typedef {object} Piece
 * @property {'plain' | 'hidden' | 'alike' | 'rtl' | 'break'} kind `break`: a line feed; the next piece is a new line.
 * @property {string} text What to show; safe as it is.
 * @property {string} raw What it stands for. All of them together are the input.
 * @property {string} [note] What it is, in words.
 */

// Controls, format and bidi characters, lone surrogates, private use, unassigned; separators and blanks other than a
// space; what fonts leave out; Braille blank and object replacement, which look like nothing (UTS #39, UTR #36).
const hidden = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\u2800\ufffc]|(?! )\p{Zs}/u
const rightToLeft =
  /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Samaritan}\p{Script=Mandaic}\p{Script=Adlam}\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u
const latin = /\p{Script=Latin}/u
const notLatin = /(?!\p{Script=Latin})\p{L}/u
const otherAlphabet =
  /\p{Script=Cyrillic}|\p{Script=Greek}|\p{Script=Armenian}|\p{Script=Cherokee}|\p{Script=Coptic}|\p{Script=Lisu}|\p{Script=Georgian}|\p{Script=Deseret}/u
/** Cyrillic and Greek that a reader of Latin takes for Latin: a word of nothing else is marked as well. */
const twins = /^[АВЕЅІЈКМНОРСТУХаеѕіјорсухԁԛԝһӏѵкΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹαινορυγτϲϳκ]+$/u
/** More marks than this on one letter hide its neighbours. */
const marksPerLetter = 2

/** @type {Readonly<Record<number, string>>} */
const names = {
  0: 'null',
  8: 'backspace',
  9: 'tab',
  10: 'line feed',
  13: 'carriage return',
  27: 'escape',
  127: 'delete',
  133: 'next line',
  160: 'no-break space',
  173: 'soft hyphen',
  1564: 'Arabic letter mark (changes direction)',
  8203: 'zero-width space',
  8204: 'zero-width non-joiner',
  8205: 'zero-width joiner',
  8206: 'left-to-right mark',
  8207: 'right-to-left mark',
  8232: 'line separator',
  8233: 'paragraph separator',
  8234: 'left-to-right embedding',
  8235: 'right-to-left embedding',
  8236: 'end of a change of direction',
  8237: 'left-to-right override',
  8238: 'right-to-left override: what follows would read backwards',
  8288: 'word joiner',
  8294: 'left-to-right isolate',
  8295: 'right-to-left isolate',
  8296: 'first strong isolate',
  8297: 'end of an isolate',
  65279: 'byte order mark',
}

/**
 * Pieces of `text`, in order.
 * @param {string} text
 * @param {{ names?: boolean }} [options] `names`: of identifiers, headers and paths: everything beyond ASCII is marked.
 * @returns {Piece[]}
 */
export function visible(text, { names: identifier = false } = {}) {
  /** @type {Piece[]} */
  const pieces = []
  for (const [run] of text.matchAll(/[\p{L}\p{M}\p{Nd}\p{Nl}_]+|[^\p{L}\p{M}\p{Nd}\p{Nl}_]+/gu)) {
    const mixed = isMisleading(run)
    let marks = pieces.length === 0 ? marksPerLetter : 0
    for (const each of run) {
      const isMark = /\p{M}/u.test(each)
      marks = isMark ? marks + 1 : 0
      add(pieces, pieceOf(each, { identifier, mixed, crowded: isMark && marks > marksPerLetter }))
    }
  }
  return pieces
}

/**
 * Whether any character of `text` had to be marked.
 * @param {string} text
 * @param {{ names?: boolean }} [options]
 */
export function hasMarks(text, options) {
  return visible(text, options).some(({ kind }) => kind === 'hidden' || kind === 'alike')
}

/**
 * The same as one line of plain text, for titles and places that take no marks.
 * @param {string} text
 * @param {{ names?: boolean }} [options]
 */
export function plain(text, options) {
  return visible(text, options)
    .map(({ kind, text: shown }) => (kind === 'plain' || kind === 'rtl' ? shown : `[${shown}]`))
    .join('')
}

/**
 * @param {string} each One character.
 * @param {{ identifier: boolean, mixed: boolean, crowded: boolean }} around
 * @returns {Piece}
 */
function pieceOf(each, { identifier, mixed, crowded }) {
  const code = each.codePointAt(0) ?? 0
  const name = `U+${code.toString(16).toUpperCase().padStart(4, '0')}`
  if (each === '\n') return { kind: 'break', text: '\\n', raw: each, note: 'line feed' }
  if (hidden.test(each) || crowded) {
    return { kind: 'hidden', text: name, raw: each, note: names[code] ?? 'a character that does not show' }
  }
  if (identifier ? code > 126 : (mixed && notLatin.test(each)) || isStyledLatin(each)) {
    // A mark without its letter would sit on whatever stands before it.
    const shown = /\p{M}/u.test(each) || rightToLeft.test(each) ? name : `${each} ${name}`
    return { kind: 'alike', text: shown, raw: each, note: 'not the letter that it looks like' }
  }
  return { kind: rightToLeft.test(each) ? 'rtl' : 'plain', text: each, raw: each }
}

/** Neighbours of one kind become one piece: pages stay small. @param {Piece[]} pieces @param {Piece} next */
function add(pieces, next) {
  const last = pieces.at(-1)
  if (last !== undefined && last.kind === next.kind && (next.kind === 'plain' || next.kind === 'rtl')) {
    pieces[pieces.length - 1] = { ...last, text: last.text + next.text, raw: last.raw + next.raw }
  } else pieces.push(next)
}

/** A word that mixes Latin with another alphabet, or that is made of twins alone. @param {string} run */
function isMisleading(run) {
  return otherAlphabet.test(run) && (latin.test(run) || twins.test(run.replace(/[\p{N}\p{M}_]/gu, '')))
}

/** Fullwidth, mathematical, circled letters and digits: ASCII once somebody normalises it. @param {string} each */
function isStyledLatin(each) {
  return each > '\u007f' && /^[\x21-\x7e]$/.test(each.normalize('NFKC'))
}
