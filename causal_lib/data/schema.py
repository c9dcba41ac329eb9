"""Column names of the shop, and their causal roles."""

KEY = ["user_id", "item_id", "day"]
"""What identifies one candidate row."""

USER_ATTRIBUTES = ["age_band", "city_tier", "activity", "price_sensitivity"]
ITEM_ATTRIBUTES = ["category", "price", "stock", "quality", "popularity"]
ATTRIBUTES = USER_ATTRIBUTES + ITEM_ATTRIBUTES

ROLES = {
    "user_id": "key",
    "item_id": "key",
    "day": "key",
    "age_band": "pre-treatment: user",
    "city_tier": "pre-treatment: user",
    "activity": "confounder: drives exposure and organic demand",
    "price_sensitivity": "pre-treatment: user",
    "category": "pre-treatment: item",
    "price": "pre-treatment: item",
    "stock": "confounder: out-of-stock items are shown less and cannot be bought",
    "quality": "pre-treatment: item",
    "popularity": "confounder: drives exposure and organic demand",
    "propensity": "probability of exposure, logged",
    "exposed": "treatment",
    "position": "mediator, only where exposed",
    "clicked": "mediator",
    "purchased": "outcome",
    "rating": "outcome, missing not at random",
}
"""Column to its causal role in the question 'what does recommending do to purchases?'."""
