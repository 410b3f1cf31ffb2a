"""The page of `mofe restore --report`: one self-contained HTML file that shows photographs before and after."""
