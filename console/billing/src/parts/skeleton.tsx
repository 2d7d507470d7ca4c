/** The page's shape while its first answer is on the way. */
export function Skeleton() {
  return (
    <div class="skeleton" aria-hidden="true">
      <div class="summary">
        <div class="bone balance" />
        <div class="bone months" />
      </div>
      <div class="cards">
        <div class="bone card" />
        <div class="bone card" />
        <div class="bone card" />
      </div>
      <div class="bone rows" />
    </div>
  );
}
