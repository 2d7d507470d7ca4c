interface Props<Word extends string> {
  readonly legend: string;
  readonly name: string;
  readonly words: Record<Word, string>;
  readonly chosen: Word;
  readonly change: (word: Word) => void;
}

/** Radio buttons beside each other. */
export function Switch<Word extends string>({ legend, name, words, chosen, change }: Props<Word>) {
  return (
    <fieldset class="switch">
      <legend>{legend}</legend>
      {(Object.entries(words) as [Word, string][]).map(([word, title]) => (
        <label key={word}>
          <input type="radio" name={name} checked={word === chosen} onChange={() => change(word)} />
          <span>{title}</span>
        </label>
      ))}
    </fieldset>
  );
}
